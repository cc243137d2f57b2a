"""What ``/diagnostics`` says of guard, policy and cameras, and how bad that is."""

from __future__ import annotations

import pytest

from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.faults import FAULTS
from jetvla.runtime.link.protocol import CameraHealth, Health, StageTimes
from jetvla.runtime.telemetry.diagnosis import Level
from jetvla.services.guard_diagnosis import diagnose_cameras, diagnose_guard, diagnose_policy

NOW = 10_000_000_000


@pytest.mark.parametrize(
    ("state", "faults", "level", "message"),
    [
        (State.ARMED, {}, Level.OK, "ARMED: why"),
        (State.DISARMED, {}, Level.OK, "DISARMED: why"),
        (State.BOOT, {}, Level.WARN, "BOOT: why"),
        (State.STOPPING, {}, Level.WARN, "STOPPING: why"),
        (State.LATCHED, {}, Level.ERROR, "LATCHED: why"),
        (State.DISARMED, {"peers": "nobody listens"}, Level.WARN, "DISARMED: peers: nobody listens"),
        (State.LATCHED, {"estop": "it is pressed"}, Level.ERROR, "LATCHED: estop: it is pressed"),
        (State.DISARMED, {"link_lost": "gone", "dark_frame": "camera 0 is dark"}, Level.OK, "DISARMED: why"),
    ],
)
def test_the_guard_answers_for_its_own_faults_alone(
    state: State, faults: dict[str, str], level: Level, message: str
) -> None:
    assert faults.keys() <= FAULTS.keys()
    diagnosis = diagnose_guard(state, "why", faults, {"ticks": 7})
    assert (diagnosis.level, diagnosis.message, diagnosis.values) == (level, message, {"ticks": 7})


@pytest.mark.parametrize(
    ("faults", "level", "message"),
    [
        ({}, Level.OK, "sends chunks"),
        ({"peers": "nobody listens"}, Level.OK, "sends chunks"),
        ({"link_lost": "closed"}, Level.ERROR, "link_lost: closed"),
        ({"link_silent": "for 0.3 s", "no_health": "for 0.6 s"}, Level.STALE, "link_silent: for 0.3 s"),
        ({"link_silent": "for 0.3 s", "golden": "error 9"}, Level.ERROR, "golden: error 9"),
        ({"no_state": "elbow is old"}, Level.ERROR, "no_state: elbow is old"),
    ],
)
def test_the_policys_worst_fault_is_told(faults: dict[str, str], level: Level, message: str) -> None:
    assert faults.keys() <= FAULTS.keys()
    diagnosis = diagnose_policy("sends chunks", faults, {})
    assert (diagnosis.level, diagnosis.message) == (level, message)


def test_every_camera_of_the_manifest_has_a_line_by_its_name() -> None:
    reports = (
        CameraHealth(0, 4, NOW - 30_000_000),
        CameraHealth(1, 4, NOW - 30_000_000, frozen=True, dark=True),
        CameraHealth(3, 4, NOW - 1_100_000_000),
    )
    names = ["front", "wrist", "top", "rear"]
    found = diagnose_cameras(names, Health(0, StageTimes(), reports), NOW)
    assert [d.component for d in found] == [f"camera {name}" for name in names]
    assert [d.level for d in found] == [Level.OK, Level.ERROR, Level.STALE, Level.STALE]
    assert [d.message for d in found] == [
        "frames come",
        "repeats the same image; is dark",
        "no frame",
        "no new frame",
    ]
    assert found[0].values == {"frames": 5, "age_s": "0.030"}
    assert {d.level for d in diagnose_cameras(names, None, NOW)} == {Level.STALE}
