"""Two measurements are compared only if their machines were alike."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from jetvla.runtime.engine_key import Machine
from jetvla.runtime.telemetry.environment import Clocks, Environment, Missing, differences
from jetvla.runtime.telemetry.power.thermal import Temperature
from jetvla.runtime.telemetry.power.throttling import Counter, Throttling

BEFORE = Environment(
    machine=Machine("12.6", "540.4.0", "R36", "Orin", "8.7", "aarch64 asimd", "0000"),
    cpu_model="Arm implementer 0x41 part 0xd42",
    cores=8,
    jetson="NVIDIA Jetson AGX Orin Developer Kit",
    jetpack="6.2",
    power_mode="MAXN",
    cpu=Clocks("schedutil", 729.6, 2201.6, 729.6),
    gpu=Clocks("nvhost_podgov", 306, 1300, 306),
    temperatures=(Temperature("cpu-thermal", 40),),
    throttling=Throttling((), (Counter("oc3", 1),)),
    kernel="5.15.148-tegra",
    python="3.10.12",
    versions=(("numpy", "1.26.4"), ("tensorrt", "10.3.0")),
    load=0.5,
    hypervisor=None,
    missing=(),
)
REFUSE: list[dict[str, Any]] = [
    {"cpu_model": "Arm implementer 0x41 part 0xd83"},
    {"cores": 4},
    {"jetson": "NVIDIA Jetson AGX Thor Developer Kit"},
    {"power_mode": "15W"},
    {"power_mode": None},
    {"hypervisor": True},
    *({"machine": replace(BEFORE.machine, **{n: "x"})} for n in ("cpu", "gpu", "compute_capability", "power_mode")),
]
WARN: list[dict[str, Any]] = [
    {"jetpack": "6.1"},
    {"kernel": "6.8.12-tegra"},
    {"python": "3.12.3"},
    {"cpu": replace(BEFORE.cpu, governor="performance")},
    {"cpu": replace(BEFORE.cpu, min_mhz=2201.6)},
    {"gpu": replace(BEFORE.gpu, max_mhz=930)},
    {"versions": (("numpy", "2.2.0"), ("tensorrt", "10.3.0"))},
    {"versions": (("numpy", "1.26.4"),)},
    {"throttling": Throttling(("cpu-throttle-alert",))},
    *({"machine": replace(BEFORE.machine, **{n: "x"})} for n in ("cuda", "driver", "jetpack")),
]
NOTHING: list[dict[str, Any]] = [
    {},
    {"cpu": replace(BEFORE.cpu, mhz=2201.6)},
    {"temperatures": ()},
    {"load": 7.0},
    {"throttling": Throttling((), (Counter("oc3", 9),))},
    {"throttling": None},
    {"missing": (Missing("load", "why"),)},
]


@pytest.mark.parametrize("change", REFUSE, ids=str)
def test_another_machine_or_power_mode_is_refused(change: dict[str, Any]) -> None:
    assert [d.grade for d in differences(BEFORE, replace(BEFORE, **change))] == ["refuse"]


@pytest.mark.parametrize("change", WARN, ids=str)
def test_what_may_explain_a_difference_is_a_warning(change: dict[str, Any]) -> None:
    assert [d.grade for d in differences(BEFORE, replace(BEFORE, **change))] == ["warn"]


@pytest.mark.parametrize("change", NOTHING, ids=str)
def test_what_changes_by_itself_is_no_difference(change: dict[str, Any]) -> None:
    assert differences(BEFORE, replace(BEFORE, **change)) == ()


def test_every_field_was_thought_of() -> None:
    changed = {name for change in (*REFUSE, *WARN, *NOTHING) for name in change}
    assert changed == {field.name for field in fields(Environment)}


def test_grave_differences_come_first_and_are_said_in_words() -> None:
    after = replace(BEFORE, kernel="6.8.12-tegra", power_mode=None, versions=())
    found = differences(BEFORE, after)
    assert [str(d) for d in found] == [
        "power_mode: MAXN and unknown",
        "kernel: 5.15.148-tegra and 6.8.12-tegra",
        "versions.numpy: 1.26.4 and unknown",
        "versions.tensorrt: 10.3.0 and unknown",
    ]


def test_machines_that_were_both_held_back_are_not_alike() -> None:
    hot = replace(BEFORE, throttling=Throttling(("cpu-throttle-alert",)))
    assert [str(d) for d in differences(hot, hot)] == ["throttling: cpu-throttle-alert and cpu-throttle-alert"]
