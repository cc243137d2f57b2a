"""What the kernel's files tell, on trees of files laid out as its documentation says."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.errors import TelemetryError
from jetvla.runtime.telemetry.power import open_power_source
from jetvla.runtime.telemetry.power.rail import Rail
from jetvla.runtime.telemetry.power.reading import Activity, Memory, Reading
from jetvla.runtime.telemetry.power.sysfs import Sysfs
from jetvla.runtime.telemetry.power.thermal import Temperature
from jetvla.runtime.telemetry.power.throttling import Counter, Throttling


def read(root: Path) -> Reading:
    return Sysfs(FakeClock(), root).read()


def test_rails_are_voltage_times_current_and_sums_of_shunts_are_none(orin: Path) -> None:
    reading = read(orin)
    assert reading.rails == (Rail("VDD_IN", 6000), Rail("VDD_CPU_GPU_CV", 1500))
    assert (reading.total, reading.note) == (Rail("VDD_IN", 6000), "")


def test_thors_input_is_its_total_and_a_negative_current_stays_one(thor: Path) -> None:
    reading = read(thor)
    assert reading.rails == (Rail("VIN", 15004), Rail("VDD_GPU", pytest.approx(-385.28)))
    assert reading.total == Rail("VIN", 15004)


def test_a_zone_throttles_where_a_clock_is_lowered_and_not_where_a_warning_is_given(orin: Path) -> None:
    assert read(orin).temperatures == (Temperature("cpu-thermal", 51.718, 99), Temperature("tj-thermal", 52))


def test_a_fan_and_a_warm_surface_hold_nothing_back(orin: Path) -> None:
    counters = (Counter("soctherm_oc/oc1_event_cnt", 0), Counter("soctherm_oc/oc3_event_cnt", 27))
    assert read(orin).throttling == Throttling((), counters)


@pytest.mark.parametrize("device", ["cooling_device0", "cooling_device10"])
def test_a_throttle_alert_and_a_capped_clock_hold_it_back(orin: Path, device: str) -> None:
    folder = orin / "sys/class/thermal" / device
    (folder / "cur_state").write_text("1\n")
    throttling = read(orin).throttling
    assert throttling is not None
    assert throttling.active == ((folder / "type").read_text().strip(),)


def test_thors_throttling_is_seen(thor: Path) -> None:
    assert read(thor).throttling == Throttling(("gpu-throttle-alert",))


def test_clocks_and_load_of_the_gpu(orin: Path, thor: Path) -> None:
    assert read(orin).gpu == Activity(87.3, (612,))
    assert read(thor).gpu == Activity(None, (1575,))


def test_load_of_the_cores_is_that_since_the_reading_before(orin: Path) -> None:
    source = Sysfs(FakeClock(), orin)
    assert source.read().cores == (Activity(None, (729.6,)), Activity(None, (1728,)))
    (orin / "proc/stat").write_text("cpu0 130 0 0 170 0 0 0 0 0 0\ncpu1 100 0 0 100 0 0 0 0 0 0\n")
    assert source.read().cores == (Activity(pytest.approx(30), (729.6,)), Activity(None, (1728,)))


def test_memory_in_use_is_what_is_not_available(orin: Path) -> None:
    assert read(orin).ram == Memory(4000, 7620)


def test_rapl_is_the_mean_since_the_reading_before(xeon: Path) -> None:
    clock = FakeClock()
    source = Sysfs(clock, xeon)
    assert "second reading" in source.read().note
    clock.advance(0.5)
    (xeon / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("11000000\n")
    reading = source.read()
    assert reading.rails == (Rail("package-0", 20_000),)
    assert reading.total == Rail("package-0", 20_000)


def test_rapls_counter_starts_again(xeon: Path) -> None:
    clock, energy = FakeClock(), xeon / "sys/class/powercap/intel-rapl:0/energy_uj"
    energy.write_text("262143328000\n")
    source = Sysfs(clock, xeon)
    source.read()
    clock.advance(1)
    energy.write_text("999150\n")
    assert source.read().rails == (Rail("package-0", 1000),)


def test_two_sockets_are_one_total(xeon: Path) -> None:
    other = xeon / "sys/class/powercap/intel-rapl:1"
    other.mkdir()
    for name, said in {"name": "package-1", "energy_uj": "0", "max_energy_range_uj": "9"}.items():
        (other / name).write_text(said)
    clock = FakeClock()
    source = Sysfs(clock, xeon)
    source.read()
    clock.advance(1)
    (other / "energy_uj").write_text("5000000")
    assert source.read().total == Rail("package-0+package-1", 5000)


def test_an_x86_cores_throttling_is_counted(xeon: Path) -> None:
    assert read(xeon).throttling == Throttling((), (Counter("core_throttle_count", 7),))


def test_a_counter_that_only_root_may_read_is_named(xeon: Path) -> None:
    energy = xeon / "sys/class/powercap/intel-rapl:0/energy_uj"
    energy.unlink()
    energy.mkdir()  # unreadable even for root, as whom tests may run
    assert read(xeon).note == "RAPL is there, but only root may read its energy_uj"


def test_sensors_that_do_not_answer_are_named(orin: Path) -> None:
    for channel in (1, 2):
        (orin / f"sys/class/hwmon/hwmon1/curr{channel}_input").unlink()
    assert read(orin).note == "the power sensors VDD_IN, VDD_CPU_GPU_CV do not answer"
    assert read(orin).rails == ()


@pytest.mark.parametrize("said", ["", "nonsense", "nan", "inf", "\x00"])
def test_a_file_that_says_no_number_is_left_out(orin: Path, said: str) -> None:
    (orin / "sys/class/hwmon/hwmon1/curr1_input").write_text(said)
    (orin / "sys/class/thermal/thermal_zone0/temp").write_text(said)
    (orin / "proc/meminfo").write_text(said)
    reading = read(orin)
    assert reading.rails == (Rail("VDD_CPU_GPU_CV", 1500),)
    assert [t.zone for t in reading.temperatures] == ["tj-thermal"]
    assert reading.ram is None


def test_a_machine_that_tells_nothing_does_not_claim_that_nothing_throttles(tmp_path: Path) -> None:
    reading = read(tmp_path)
    assert (reading.rails, reading.temperatures, reading.cores, reading.gpu) == ((), (), (), None)
    assert (reading.throttling, reading.ram) == (None, None)


def test_asked_for_by_name_it_must_have_something_to_read(tmp_path: Path, orin: Path) -> None:
    assert open_power_source("sysfs", root=orin).read().total == Rail("VDD_IN", 6000)
    with pytest.raises(TelemetryError, match=r"no power sensor that Linux shows .*, and no thermal zone"):
        open_power_source("sysfs", root=tmp_path)


def test_throttling_since_a_time_before() -> None:
    before = Throttling(("cpu-throttle-alert",), (Counter("oc1", 2), Counter("oc3", 27)))
    after = Throttling(("gpu-throttle-alert",), (Counter("oc1", 2), Counter("oc3", 30)))
    assert after.since(before) == ("cpu-throttle-alert", "gpu-throttle-alert", "oc3 rose by 3")
    assert Throttling((), before.counters).since(Throttling((), before.counters)) == ()
