"""What the guard says and records, to the letter: the audit log and the operator get nothing else."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.contracts import Instruction
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard import limits as limits_module
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.box import Box
from jetvla.runtime.guard.limits import Limits, RateLimit
from jetvla.runtime.guard.rig import BUNDLE, GuardRig, twist_spec
from jetvla.runtime.guard.workspace import Workspace

FORWARD = [0.25, 0, 0, 0, 0, 0]
JOINT = ActionDimension(name="elbow", quantity="joint", unit="rad", semantics="absolute", range=(-2.0, 2.0))
SEAM = "chunk 1 does not continue the one in use: elbow would jump by 1 rad; at most 0.3"
NAN = [float("nan"), 0, 0, 0, 0, 0]


def said(rig: GuardRig, *kinds: str) -> list[tuple[str, str, State, str]]:
    """Kind, fault, state and reason of every event of ``kinds``, in order."""
    return [(e.kind, e.fault, e.state, e.reason) for e in rig.events if e.kind in kinds]


def test_a_session_from_boot_to_reset() -> None:
    rig = GuardRig()
    assert (rig.guard.latched_by, rig.guard.publishing) == ("", False)
    rig.arm()
    rig.run(0.3, FORWARD)
    rig.guard.disarm()
    rig.run(4.0)
    assert rig.guard.publishing is False
    rig.guard.arm()
    rig.guard.on_estop(True)
    assert rig.guard.latched_by == "estop: emergency stop is pressed"
    rig.run(4.0)
    rig.guard.on_estop(False)
    assert rig.guard.reset() == ()
    rig.step()
    assert rig.guard.latched_by == ""
    assert said(rig, "state") == [
        ("state", "", State.DISARMED, "a policy has connected"),
        ("state", "", State.ARMED, "armed by the operator"),
        ("state", "", State.STOPPING, "disarmed by the operator"),
        ("state", "", State.DISARMED, "the robot is at rest"),
        ("state", "", State.ARMED, "armed by the operator"),
        ("state", "", State.LATCHED, "estop: emergency stop is pressed"),
        ("state", "", State.DISARMED, "reset by the operator"),
    ]


def test_refusals_carry_their_reasons_and_the_state() -> None:
    rig = GuardRig()
    rig.guard.arm()
    rig.arm()
    rig.guard.reset()
    rig.step()
    assert said(rig, "refusal") == [
        (
            "refusal",
            "",
            State.BOOT,
            "arming refused: state is BOOT; peers: peers of the command topic are not known yet; "
            "link_lost: no policy has connected yet",
        ),
        (
            "refusal",
            "",
            State.ARMED,
            "reset refused: state is ARMED, not LATCHED; the robot is not stopped yet",
        ),
    ]


def test_every_event_has_the_time_and_the_state_of_its_moment() -> None:
    rig = GuardRig()
    rig.ready()
    rig.guard.on_peers(False, "nobody listens")
    rig.step()
    rig.guard.on_peers(True)
    rig.guard.arm()
    rig.chunk(NAN)
    rig.chunk([9.0, 0, 0, 0, 0, 0])
    last = rig.step()
    assert all(0 < e.t_ns <= rig.clock.now_ns() for e in rig.events)
    states = {(e.kind, e.fault): e.state for e in (*rig.events, *last.events)}
    assert states[("fault", "peers")] is State.DISARMED
    assert states[("cleared", "peers")] is State.DISARMED
    assert states[("reject", "")] is State.ARMED
    assert states[("clip", "")] is State.ARMED
    assert [e.t_ns for e in last.events if e.kind == "clip"] == [rig.clock.now_ns()]


def test_what_happened_once_is_told_with_its_numbers() -> None:
    rig = GuardRig()
    rig.arm()
    for _ in range(3):
        rig.chunk(NAN)
    rig.step()
    (fault,) = [e for e in rig.events if e.fault == "bad_chunk"]
    assert fault.state is State.ARMED
    assert fault.reason.startswith("3 bad chunks in a row; the last: ")
    assert "not finite" in fault.reason or "finite" in fault.reason


def test_late_chunks_and_an_old_instruction_are_told_in_seconds() -> None:
    rig = GuardRig(limits=Limits(instruction_ttl_s=5.0))
    rig.arm()
    for _ in range(3):
        rig.chunk(FORWARD, age_s=0.45)
        rig.run(0.1)
    assert ("fault", "late_chunks", State.ARMED, "3 late chunks in a row; the last was 0.450 s old") in said(
        rig, "fault"
    )
    old = GuardRig(limits=Limits(instruction_ttl_s=5.0))
    old.arm()
    old.run(6.0, FORWARD)
    expired = [reason for _, fault, _, reason in said(old, "fault") if fault == "instruction_expired"]
    assert expired == ["instruction is 5.0 s old; its time to live is 5 s"]


def test_a_stall_is_told_in_milliseconds() -> None:
    rig = GuardRig()
    rig.arm()
    rig.run(0.2, FORWARD)
    rig.step(0.0354)
    stalls = [reason for _, fault, _, reason in said(rig, "fault") if fault == "stall"]
    assert stalls == ["35.4 ms between two ticks; the longest allowed is 30.0 ms"]


def test_an_old_frame_is_told_in_seconds() -> None:
    rig = GuardRig()
    rig.ready()
    rig.health(age_s=0.3)
    rig.step()
    stale = [reason for _, fault, _, reason in said(rig, "fault") if fault == "stale_frame"]
    assert stale == ["camera 0: newest frame is 0.300 s old"]


def test_peers_without_a_reason_are_not_matched() -> None:
    rig = GuardRig()
    rig.ready()
    rig.guard.on_peers(False)
    assert rig.guard.arm() == ("peers: not matched",)


# Configuration


BOX = {"frame": "base_link", "low": (0.0, 0.0, 0.0), "high": (0.12, 1.0, 1.0)}


def test_a_box_may_state_every_key_and_needs_two_margins_alone() -> None:
    axes = ("x", "y", "z")
    box = Box.of({**BOX, "margin": 0.05, "axes": axes})
    assert box == Box("base_link", (0.0, 0.0, 0.0), (0.12, 1.0, 1.0), 0.05, ("x", "y", "z"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": ""}, "workspace.frame must name the ROS frame of the box"),
        ({"axes": (None, None, None)}, "workspace.axes must name the action dimension of at least one axis"),
    ],
)
def test_a_wrong_box_is_told(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Box.of({**BOX, **change})
    assert str(error.value) == message


def test_a_bundle_without_places_is_told() -> None:
    joint = ActionSpec(dimensions=(ActionDimension(name="a", quantity="joint", unit="rad", semantics="absolute"),))
    box = Box("base_link", (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
    with pytest.raises(ConfigError) as error:
        Workspace(box, joint, Limits(workspace=box), 0.01)
    assert str(error.value) == (
        "limits.workspace: axes ['x', 'y', 'z'] in frame 'base_link' must be all linear action dimensions; those of "
        "this bundle are: none, so it cannot be kept in a box"
    )


def test_wrong_limits_are_told() -> None:
    with pytest.raises(ConfigError, match=r"; a robot must stop at least as hard as it starts$|^.*: a robot must stop"):
        RateLimit(0.25, 1.0, 0.5, 10.0)
    with pytest.raises(ConfigError, match="travel_100ms"):
        RateLimit(0.25, 0.5, 1.0, 10.0, travel_100ms=-1.0)
    with pytest.raises(ConfigError, match="known are ") as error:
        Limits.from_overrides({"linear": {"speed": 1.0}})
    assert "velocity, acceleration, deceleration, jerk" in str(error.value)


def test_every_limit_carries_its_unit_and_source() -> None:
    # Made anew under its own name, for the module's own table was made when it was first imported.
    spec = importlib.util.spec_from_file_location(limits_module.__name__, limits_module.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    anew = module.Limits()
    rows = list(anew.table())
    assert all(unit.strip() and source.strip() for _, _, unit, source in rows)
    assert [(name, unit, source) for name, _, unit, source in rows] == [
        (name, unit, source) for name, _, unit, source in Limits().table()
    ]
    assert anew.linear.velocity == 0.25


def test_a_guard_needs_neither_deadman_nor_feedback_unless_told() -> None:
    from jetvla.runtime.guard.core import Guard

    rig = GuardRig()
    rig.guard = Guard(twist_spec(), rig.timing, Limits(), 100.0, BUNDLE, rig.clock)
    rig.arm()
    assert rig.guard.state is State.ARMED


def test_angular_dimensions_need_a_frame_too() -> None:
    turn = ActionDimension(name="yaw", quantity="angular", unit="rad/s", semantics="velocity")
    rig = GuardRig(ActionSpec(dimensions=(turn,), rotation="rotation_vector"))
    rig.ready()
    assert rig.guard.arm() == ("yaw: the action spec states no frame",)


# When it happens


def test_the_tick_that_finds_the_excess_stops_already() -> None:
    def run(pressed: bool) -> list[list[float]]:
        rig = GuardRig(limits=Limits(excess_count=3, excess_window=5, seam_ratio=1e9))
        rig.arm()
        rig.run(0.5, FORWARD)
        for _ in range(2):
            rig.run(0.1, [0.4, 0, 0, 0, 0, 0])
        rig.health()
        rig.chunk(FORWARD if pressed else [0.4, 0, 0, 0, 0, 0])
        if pressed:
            rig.guard.on_estop(True)
        rig.run(0.6)
        assert rig.guard.latched_by.startswith("estop" if pressed else "excess")
        return rig.commands().tolist()

    assert run(pressed=False) == run(pressed=True)


@pytest.mark.parametrize("armed", [True, False])
def test_a_seam_latches_an_armed_robot_and_is_recorded_once_in_shadow(armed: bool) -> None:
    rig = GuardRig(ActionSpec(dimensions=(JOINT,)))
    rig.ready()
    rig.guard.on_feedback(np.zeros(1))
    if armed:
        assert rig.guard.arm() == ()
    for value in (0.0, 1.0, 0.0, 1.0):
        rig.health()
        rig.guard.on_feedback(np.zeros(1))
        rig.chunk([value])
        rig.step()
    assert (rig.guard.state is State.LATCHED) == armed
    assert [e.reason for e in rig.events if e.fault == "seam"] == ([SEAM] if armed else [])
    assert [e.reason for e in rig.events if e.kind == "reject"] == ([] if armed else [SEAM])


@pytest.mark.parametrize(("jump", "latched"), [(0.25, False), (0.2501, True)])
def test_a_seam_may_be_as_far_as_is_allowed(jump: float, latched: bool) -> None:
    rig = GuardRig(ActionSpec(dimensions=(JOINT,)), limits=Limits(seam_rad=0.25))
    rig.ready()
    rig.guard.on_feedback(np.zeros(1))
    assert rig.guard.arm() == ()
    for value in (0.0, jump):
        rig.health()
        rig.chunk([value])
        rig.step()
    assert (rig.guard.state is State.LATCHED) == latched


def test_a_repeated_instruction_is_no_news() -> None:
    rig = GuardRig()
    rig.arm()
    rig.run(0.3, FORWARD)
    rig.guard.on_instruction(Instruction.of("pick up the red block", rig.clock.now_ns()))
    assert rig.step().verdict.reason == "policy"


def test_another_bundle_is_told_by_its_first_twelve_digits() -> None:
    rig = GuardRig()
    rig.ready()
    rig.hello(bundle="0123456789abcdef" * 4)
    assert "wrong_bundle: the policy runs bundle 0123456789ab, the guard abababababab" in rig.guard.arm()


def test_a_long_stall_of_a_slow_guard_is_told_to_the_tenth() -> None:
    rig = GuardRig(rate_hz=10.0)
    rig.arm()
    rig.step()
    rig.step(0.5)
    stalls = [reason for _, fault, _, reason in said(rig, "fault") if fault == "stall"]
    assert stalls == ["500.0 ms between two ticks; the longest allowed is 300.0 ms"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gripper_votes": 2, "gripper_window": 4}, "gripper_votes must be more than half of gripper_window"),
        ({"excess_count": 9, "excess_window": 8}, "excess_count must not be larger than excess_window"),
    ],
)
def test_limits_that_contradict_each_other_are_told(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Limits(**wrong)  # type: ignore[arg-type]
    assert str(error.value).startswith(message)


def test_a_delta_s_range_holds_for_the_time_step_of_the_manifest() -> None:
    delta = ActionDimension(name="d", quantity="joint", unit="rad", semantics="delta", range=(-0.01, 0.01))
    rig = GuardRig(ActionSpec(dimensions=(delta,)), limits=Limits(excess_count=1000, excess_window=1000))
    rig.arm()
    rig.run(1.0, [0.05])
    assert rig.commands()[-1].tolist() == [pytest.approx(0.1)]


def test_a_quantity_without_rate_limits_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^limits\.colour: there are no rate limits of that name$"):
        Limits().rate("colour")
