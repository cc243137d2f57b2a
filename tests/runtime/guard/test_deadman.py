"""The dead man's switch."""

from __future__ import annotations

import pytest

from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.deadman import Deadman
from jetvla.runtime.guard.rig import GuardRig

MS = 1_000_000
FORWARD = [0.25, 0, 0, 0, 0, 0]


def test_without_one_nothing_is_ever_wrong() -> None:
    switch = Deadman(False, 0.25)
    assert switch.problem(0) == ""
    switch.heard(False, 0)
    assert switch.problem(10_000 * MS) == ""


def test_it_must_be_held_and_heard() -> None:
    switch = Deadman(True, 0.25)
    assert switch.problem(0) == "no heartbeat of the deadman switch has come yet"
    switch.heard(True, 1000 * MS)
    assert switch.problem(1250 * MS) == ""
    assert switch.problem(1250 * MS + 1) == "no heartbeat of the deadman switch for 0.250 s"
    switch.heard(False, 1260 * MS)
    assert switch.problem(1260 * MS) == "the deadman switch is released"


@pytest.fixture
def rig() -> GuardRig:
    """Ready to be armed, but for the switch."""
    rig = GuardRig(needs_deadman=True)
    rig.ready()
    return rig


def hold(rig: GuardRig, seconds: float) -> None:
    """The switch at 10 Hz, the policy at full speed."""
    for _ in range(round(seconds / 0.1)):
        rig.guard.on_deadman(True)
        rig.run(0.1, FORWARD)


def test_arming_needs_it(rig: GuardRig) -> None:
    assert rig.guard.arm() == ("deadman: no heartbeat of the deadman switch has come yet",)
    rig.guard.on_deadman(True)
    assert rig.guard.arm() == ()


def test_released_it_stops_the_robot_and_held_again_does_not_arm(rig: GuardRig) -> None:
    rig.guard.on_deadman(True)
    assert rig.guard.arm() == ()
    hold(rig, 1.0)
    assert rig.guard.state is State.ARMED
    assert rig.commands()[-1, 0] == pytest.approx(0.25)
    rig.guard.on_deadman(False)
    # Not seen by any tick, and yet it counts.
    rig.guard.on_deadman(True)
    assert rig.guard.state is State.STOPPING
    hold(rig, 3.0)
    assert rig.guard.state is State.DISARMED
    assert not rig.commands()[-1].any()
    assert rig.faults() == ["deadman"]


def test_silence_is_a_release(rig: GuardRig) -> None:
    rig.guard.on_deadman(True)
    assert rig.guard.arm() == ()
    rig.run(0.25, FORWARD)
    assert rig.guard.state is State.ARMED
    rig.run(0.01, FORWARD)
    assert rig.guard.state is State.STOPPING
    assert rig.guard.faults == {"deadman": "no heartbeat of the deadman switch for 0.260 s"}
