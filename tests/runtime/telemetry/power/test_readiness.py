"""One line of power and heat."""

from __future__ import annotations

from pathlib import Path

from jetvla.runtime.telemetry.power.readiness import power_readiness


def test_an_orin_is_ready(orin: Path) -> None:
    found = power_readiness(orin)
    assert found.ready
    assert found.detail == (
        "VDD_IN 6.0 W; hottest tj-thermal 52 °C; nothing throttles now, since the start soctherm_oc/oc3_event_cnt 27"
    )


def test_the_distance_to_throttling_is_told_of_the_hottest_zone(orin: Path) -> None:
    (orin / "sys/class/thermal/thermal_zone0/temp").write_text("98400\n")
    assert "hottest cpu-thermal 98 °C, throttles at 99" in power_readiness(orin).detail


def test_a_thor_that_is_held_back_is_not_ready(thor: Path) -> None:
    found = power_readiness(thor)
    assert not found.ready
    assert "VIN 15.0 W" in found.detail
    assert "held back by gpu-throttle-alert" in found.detail
    assert "cool the machine" in found.remedy


def test_a_server_counts_energy(xeon: Path) -> None:
    found = power_readiness(xeon)
    assert found.ready
    assert found.detail.startswith("RAPL counts energy")


def test_a_virtual_machine_has_nothing(tmp_path: Path) -> None:
    found = power_readiness(tmp_path)
    assert not found.ready
    assert found.detail == (
        "this machine has no power sensor that Linux shows (INA3221, INA238 or RAPL); no thermal zone; "
        "throttling is not told"
    )
    assert "Jetson" in found.remedy
