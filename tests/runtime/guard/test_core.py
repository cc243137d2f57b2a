"""The guard as a whole: what a robot sees when things go well, and when they go wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.contracts import Instruction
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import GuardRig, twist_spec
from jetvla.runtime.guard.shaper import Shaper
from jetvla.runtime.link.protocol import IdleReason

FORWARD = [0.25, 0, 0, 0, 0, 0]
STOP_S = 0.5

GRIPPER = ActionDimension(name="gripper", quantity="gripper", unit="1", semantics="absolute")
JOINT = ActionDimension(name="elbow", quantity="joint", unit="rad", semantics="absolute", range=(-2.0, 2.0))
WITH_GRIPPER = ActionSpec(dimensions=(*twist_spec().dimensions, GRIPPER), rotation="rotation_vector")


@pytest.fixture
def rig() -> GuardRig:
    """Armed, at rest."""
    rig = GuardRig()
    rig.arm()
    return rig


@pytest.fixture
def moving(rig: GuardRig) -> GuardRig:
    """Armed, at full speed."""
    rig.run(1.0, FORWARD)
    assert rig.commands()[-1].tolist() == pytest.approx(FORWARD)
    return rig


# Arming


def test_it_boots_disarmed_and_publishes_nothing() -> None:
    rig = GuardRig()
    assert rig.guard.state is State.BOOT
    assert all(r.command is None for r in rig.run(0.1))
    rig.ready()
    assert rig.guard.state is State.DISARMED
    assert all(r.command is None for r in rig.run(0.5, FORWARD))


def test_shadow_shows_what_would_be_sent() -> None:
    rig = GuardRig()
    rig.ready()
    last = rig.run(1.0, FORWARD)[-1]
    assert last.shaped.tolist() == pytest.approx(FORWARD)
    assert last.verdict.reason == "policy"


def test_a_verdict_names_the_frame_whose_chunk_is_followed(rig: GuardRig) -> None:
    rig.health()
    assert rig.step().verdict.frame_ns == 0
    rig.chunk(FORWARD, age_s=0.05)
    frame_ns = rig.clock.now_ns() - 50_000_000
    assert [rig.step().verdict.frame_ns for _ in range(3)] == [frame_ns] * 3
    rig.chunk([np.nan] * 6, age_s=0.01)
    assert rig.step().verdict.frame_ns == frame_ns
    rig.chunk(FORWARD, age_s=0.02)
    newer_ns = rig.clock.now_ns() - 20_000_000
    assert rig.step().verdict.frame_ns == newer_ns


def test_arming_starts_at_rest_whatever_shadow_did() -> None:
    rig = GuardRig()
    rig.ready()
    rig.run(1.0, FORWARD)
    assert rig.guard.arm() == ()
    commands = [r.command.values for r in rig.run(1.0, FORWARD) if r.command is not None]
    assert len(commands) == 100
    assert np.linalg.norm(commands[0]) <= 0.5 * 0.01
    assert commands[-1].tolist() == pytest.approx(FORWARD)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda rig: rig.guard.on_peers(False, "no subscriber"), "peers: no subscriber"),
        (lambda rig: rig.hello(golden_passed=False), "golden: golden self-test failed"),
        (lambda rig: rig.hello(bundle="00" * 32), "wrong_bundle: the policy runs bundle 000000000000"),
        (lambda rig: rig.guard.on_link_lost("closed"), "link_lost: closed"),
        (lambda rig: rig.clock.advance(0.3), "link_silent: nothing from the policy for 0.300 s"),
        (lambda rig: rig.health(age_s=0.3), "stale_frame: camera 0"),
        (lambda rig: rig.health(frozen=True), "frozen_frame"),
        (lambda rig: rig.health(dark=True), "dark_frame"),
        (lambda rig: rig.hello(), "no_health"),
        (lambda rig: rig.idle(IdleReason.NO_CAMERA), "no_camera"),
        (lambda rig: rig.idle(IdleReason.NO_STATE, "elbow is 0.3 s old"), "no_state: elbow is 0.3 s old"),
    ],
)
def test_arming_is_refused_with_the_reason(prepare: Callable[[GuardRig], None], reason: str) -> None:
    rig = GuardRig()
    rig.ready()
    assert rig.guard.refusals() == ()
    prepare(rig)
    reasons = rig.guard.arm()
    assert any(r.startswith(reason) for r in reasons)
    assert rig.guard.state is State.DISARMED
    events = [e for e in rig.step().events if e.kind == "refusal"]
    assert len(events) == 1
    assert reason in events[0].reason


def test_the_rig_says_why_it_cannot_arm() -> None:
    with pytest.raises(RuntimeError, match="elbow: the position is not measured"):
        GuardRig(ActionSpec(dimensions=(JOINT,))).arm()


def test_arming_lists_every_reason() -> None:
    rig = GuardRig()
    reasons = rig.guard.arm()
    assert [r.split(":")[0] for r in reasons] == ["state is BOOT", "peers", "link_lost"]


def test_arming_twice_is_refused(rig: GuardRig) -> None:
    assert rig.guard.arm() == ("state is ARMED",)
    assert rig.guard.state is State.ARMED


def test_an_instruction_never_arms() -> None:
    rig = GuardRig()
    rig.ready()
    rig.say("pick up the green block")
    rig.run(0.2, FORWARD)
    assert rig.guard.state is State.DISARMED


def test_undeclared_frames_and_absolute_orientations_are_refused() -> None:
    spec = ActionSpec(
        dimensions=(
            ActionDimension(name="x", quantity="linear", unit="m/s", semantics="velocity"),
            ActionDimension(name="yaw", quantity="angular", unit="rad", semantics="absolute", frame="base"),
        ),
        rotation="rotation_vector",
    )
    rig = GuardRig(spec)
    rig.ready()
    assert rig.guard.arm() == (
        "x: the action spec states no frame",
        "yaw: absolute orientations are not supported",
        "yaw: the position is not measured",
    )


def test_a_joint_must_be_measured_before_arming() -> None:
    rig = GuardRig(ActionSpec(dimensions=(JOINT,)))
    rig.ready()
    assert rig.guard.arm() == ("elbow: the position is not measured",)
    rig.guard.on_feedback(np.array([0.7]))
    assert rig.guard.arm() == ()
    assert rig.run(0.05)[-1].shaped.tolist() == [0.7]


# Moving


def test_it_moves_within_the_limits_and_arrives(moving: GuardRig) -> None:
    speeds = np.linalg.norm(moving.commands()[:, :3], axis=1)
    assert speeds.max() <= 0.25 * (1 + 1e-9)
    assert np.diff(speeds).max() <= 0.5 * 0.01 + 1e-9
    assert moving.results[-1].verdict.reason == "policy"


def test_sequence_and_time_of_commands(moving: GuardRig) -> None:
    commands = [r.command for r in moving.results if r.command is not None]
    assert [c.seq for c in commands] == list(range(100))
    assert commands[-1].t_ns == moving.clock.now_ns()
    assert not commands[-1].values.flags.writeable


def test_too_much_is_clipped_and_said_once_per_request(rig: GuardRig) -> None:
    results = rig.run(0.3, [0.26, 0, 0, 0, 0, 0])
    clips = [e for e in rig.events if e.kind == "clip"]
    assert len(clips) == 3
    assert clips[0].reason == "beyond velocity, range or box: x, y, z"
    assert clips[0].raw == pytest.approx((0.26, 0, 0, 0, 0, 0))
    assert clips[0].sent == pytest.approx(FORWARD)
    assert results[-1].verdict.clipped == ("x", "y", "z")
    assert rig.guard.state is State.ARMED


def test_without_instruction_it_rests_and_stays_armed(moving: GuardRig) -> None:
    moving.idle()
    moving.run(STOP_S)
    assert not moving.commands()[-1].any()
    assert moving.guard.state is State.ARMED
    assert moving.faults() == []
    assert moving.run(3.0)[-1].command is not None
    moving.run(1.0, FORWARD)
    assert moving.commands()[-1].tolist() == pytest.approx(FORWARD)


def test_withdrawing_the_instruction_rests(moving: GuardRig) -> None:
    moving.guard.on_instruction(None)
    results = moving.run(STOP_S, FORWARD)
    assert results[0].verdict.reason == "idle"
    assert not moving.commands()[-1].any()
    assert moving.guard.state is State.ARMED


def test_another_instruction_rests_until_its_first_chunk(moving: GuardRig) -> None:
    old = moving.instruction
    moving.say("put it down")
    new, moving.instruction = moving.instruction, old
    assert moving.run(STOP_S, FORWARD)[-1].verdict.reason == "waiting"
    assert not moving.commands()[-1].any()
    moving.instruction = new
    moving.run(1.0, FORWARD)
    assert moving.commands()[-1].tolist() == pytest.approx(FORWARD)


def test_time_to_live_of_an_instruction_holds_and_stays_armed() -> None:
    rig = GuardRig(limits=Limits(instruction_ttl_s=1.0))
    rig.arm()
    rig.run(0.9, FORWARD)
    rig.run(0.1 + STOP_S, FORWARD)
    assert rig.results[-1].verdict.reason == "expired"
    assert not rig.commands()[-1].any()
    assert rig.guard.state is State.ARMED
    assert rig.faults() == ["instruction_expired"]
    rig.say(rig.instruction.text)
    rig.run(0.3, FORWARD)
    assert rig.commands()[-1][0] > 0.05


# Stopping


def test_disarming_is_a_controlled_stop_then_zeros_then_silence(moving: GuardRig) -> None:
    moving.guard.disarm()
    assert moving.guard.state is State.STOPPING
    assert moving.guard.publishing
    results = moving.run(STOP_S + 2.5, FORWARD)
    commands = np.array([r.command.values for r in results if r.command is not None])
    moving_ticks = int(np.count_nonzero(commands.any(axis=1)))
    assert moving_ticks == 40
    assert len(commands) - moving_ticks == 201
    assert moving.guard.state is State.DISARMED
    assert results[-1].command is None
    assert not moving.guard.publishing
    stopping = [r for r in results if r.state is State.STOPPING]
    assert {r.verdict.reason for r in stopping} == {"stopping"}


def test_it_never_arms_by_itself(moving: GuardRig) -> None:
    moving.guard.disarm()
    moving.run(5.0, FORWARD)
    assert moving.guard.state is State.DISARMED
    assert moving.guard.arm() == ()


def test_stop_says_why(moving: GuardRig) -> None:
    moving.guard.stop("stop word: halt")
    event = moving.step().events[-1]
    assert (event.kind, event.reason, event.state) == ("state", "stop word: halt", State.STOPPING)


def test_disarming_when_not_armed_does_nothing() -> None:
    rig = GuardRig()
    rig.guard.disarm()
    rig.ready()
    rig.guard.disarm()
    assert rig.guard.state is State.DISARMED


STOPPING_FAULTS: dict[str, Callable[[GuardRig], object]] = {
    "link_lost": lambda rig: rig.guard.on_link_lost("the policy closed the link"),
    "stale_frame": lambda rig: rig.health(age_s=0.5),
    "frozen_frame": lambda rig: rig.health(frozen=True),
    "dark_frame": lambda rig: rig.health(dark=True),
    "frame_size": lambda rig: rig.health(size_changed=True),
    "no_camera": lambda rig: rig.idle(IdleReason.NO_CAMERA),
    "no_state": lambda rig: rig.idle(IdleReason.NO_STATE),
    "peers": lambda rig: rig.guard.on_peers(False, "another publisher"),
    "stall": lambda rig: rig.clock.advance(0.04),
    "late_chunks": lambda rig: [rig.chunk(FORWARD, age_s=age_s) for age_s in (0.15, 0.14, 0.13)],
}


@pytest.mark.parametrize("fault", STOPPING_FAULTS)
def test_a_fault_stops_the_robot_and_disarms(rig: GuardRig, fault: str) -> None:
    rig.run(1.0, FORWARD)
    rig.clock.advance(0.005)
    STOPPING_FAULTS[fault](rig)
    result = rig.step()
    assert rig.faults()[0] == fault
    assert result.state is State.STOPPING
    assert any(e.kind == "state" and e.reason.startswith(f"{fault}: ") for e in result.events)
    # The policy goes on as if nothing were wrong.
    rig.run(STOP_S - 0.01, FORWARD)
    assert not rig.commands()[-1].any()
    rig.run(2.5, FORWARD)
    assert rig.guard.state is State.DISARMED


@pytest.mark.parametrize("bundle", ["ab" * 32, "00" * 32])
def test_another_policy_stops_what_was_armed_for_the_first(moving: GuardRig, bundle: str) -> None:
    moving.hello(bundle)
    moving.health()
    assert moving.guard.state is State.STOPPING
    assert moving.step().events[0].reason == "another policy has connected"
    moving.run(STOP_S, FORWARD)
    assert not moving.commands()[-1].any()


def test_a_fault_between_two_ticks_is_noticed(moving: GuardRig) -> None:
    moving.health(frozen=True)
    moving.health()
    result = moving.step()
    assert result.state is State.STOPPING
    assert [e.kind for e in result.events] == ["fault", "state", "cleared"]


def slow_policy() -> GuardRig:
    """At full speed, with a policy whose actions last for 0.5 s."""
    rig = GuardRig(timing=ChunkTiming(5, 0.1, 0.1))
    rig.arm()
    rig.run(1.0, FORWARD)
    return rig


def test_a_silent_policy_stops() -> None:
    rig = slow_policy()
    rig.beating = False
    last_heard = 0.05
    rig.run(0.25 - last_heard)
    assert rig.guard.state is State.ARMED
    rig.run(0.02)
    assert rig.faults() == ["link_silent"]
    rig.run(STOP_S)
    assert not rig.commands()[-1].any()


def test_a_policy_without_health_stops() -> None:
    rig = slow_policy()
    rig.beating = False
    rig.run(0.45, FORWARD)
    assert rig.guard.state is State.ARMED
    rig.run(0.02, FORWARD)
    assert rig.faults() == ["no_health"]
    assert rig.guard.state is State.STOPPING


def test_a_stale_chunk_stops(moving: GuardRig) -> None:
    # The last chunk came 0.1 s ago and was 0.05 s old then; the limit is 0.2 s.
    moving.run(0.04)
    assert moving.guard.state is State.ARMED
    moving.run(0.02)
    assert moving.faults() == ["stale_chunk"]
    assert moving.guard.state is State.STOPPING
    moving.run(STOP_S)
    assert not moving.commands()[-1].any()


def test_a_fault_ends_and_is_said(moving: GuardRig) -> None:
    moving.guard.on_peers(False, "another publisher")
    moving.step()
    assert moving.guard.faults == {"peers": "another publisher"}
    moving.guard.on_peers(True)
    event = moving.step().events[-1]
    assert (event.kind, event.fault, event.reason) == ("cleared", "peers", "no longer: another publisher")
    assert moving.guard.faults == {}
    assert moving.guard.state is State.STOPPING


def test_a_lasting_fault_is_said_once(moving: GuardRig) -> None:
    moving.guard.on_peers(False, "another publisher")
    moving.run(1.0, FORWARD)
    assert moving.faults() == ["peers"]


def test_a_stall_does_not_jump(moving: GuardRig) -> None:
    last = moving.commands()[-1]
    moving.step(1.0)
    assert np.abs(moving.commands()[-1] - last).max() <= 1.0 * 0.03 + 1e-9


# Latching


def latch_by_nan(rig: GuardRig) -> None:
    for _ in range(3):
        rig.chunk([np.nan, 0, 0, 0, 0, 0])


def latch_by_estop(rig: GuardRig) -> None:
    rig.guard.on_estop(True)
    rig.guard.on_estop(False)


def latch_by_excess(rig: GuardRig) -> None:
    for _ in range(10):
        rig.health()
        rig.chunk([0.3, 0, 0, 0, 0, 0])
        rig.step()


def latch_by_clock(rig: GuardRig) -> None:
    for _ in range(3):
        rig.step(0.0)


LATCHES = {
    "bad_chunk": latch_by_nan,
    "estop": latch_by_estop,
    "excess": latch_by_excess,
    "broken_clock": latch_by_clock,
}


@pytest.mark.parametrize("fault", LATCHES)
def test_latched_is_left_by_reset_alone(moving: GuardRig, fault: str) -> None:
    LATCHES[fault](moving)
    assert moving.guard.state is State.LATCHED
    assert moving.guard.latched_by.startswith(f"{fault}: ")
    moving.run(STOP_S)
    assert not moving.commands()[-1].any()
    assert "the robot is not stopped yet" in moving.guard.reset()
    moving.run(2.5)
    assert moving.results[-1].command is None
    moving.guard.disarm()
    moving.say("go on")
    moving.hello()
    moving.health()
    assert moving.guard.arm()[0].startswith("latched, reset first: ")
    assert moving.guard.state is State.LATCHED
    assert moving.guard.reset() == ()
    assert moving.guard.state is State.DISARMED
    assert moving.guard.latched_by == ""
    moving.health()
    assert moving.guard.arm() == ()
    moving.run(1.0, FORWARD)
    assert moving.commands()[-1].tolist() == pytest.approx(FORWARD)


def test_emergency_stop_release_reset_and_arm_are_three_acts(moving: GuardRig) -> None:
    moving.guard.on_estop(True)
    assert moving.guard.state is State.LATCHED
    moving.run(3.0)
    assert moving.guard.reset() == ("emergency stop is pressed",)
    moving.guard.on_estop(False)
    moving.run(0.1)
    assert moving.guard.state is State.LATCHED
    assert moving.guard.reset() == ()
    moving.run(0.1, FORWARD)
    assert moving.guard.state is State.DISARMED
    assert moving.guard.arm() == ()


def test_emergency_stop_during_stopping_goes_on_stopping(moving: GuardRig) -> None:
    moving.guard.disarm()
    moving.run(0.1)
    moving.guard.on_estop(True)
    moving.run(STOP_S - 0.1)
    assert moving.guard.state is State.LATCHED
    assert not moving.commands()[-1].any()
    speeds = np.linalg.norm(moving.commands()[:, :3], axis=1)
    assert np.abs(np.diff(speeds)).max() <= 0.01 + 1e-9


def test_emergency_stop_latches_from_boot_and_disarmed() -> None:
    rig = GuardRig()
    rig.guard.on_estop(True)
    assert rig.guard.state is State.LATCHED
    rig.ready()
    assert rig.guard.state is State.LATCHED
    rig.guard.on_estop(False)
    assert rig.guard.reset() == ()
    rig.guard.on_estop(True)
    assert rig.guard.state is State.LATCHED
    assert rig.step().command is None


def test_the_first_cause_of_a_latch_is_kept(moving: GuardRig) -> None:
    latch_by_nan(moving)
    moving.guard.on_estop(True)
    moving.step()
    assert moving.guard.latched_by.startswith("bad_chunk: ")
    assert moving.faults() == ["bad_chunk", "estop"]


def test_reset_when_not_latched_is_refused(rig: GuardRig) -> None:
    assert rig.guard.reset() == ("state is ARMED, not LATCHED", "the robot is not stopped yet")
    assert rig.guard.state is State.ARMED
    assert [e.kind for e in rig.step().events][-1] == "refusal"


def test_bad_chunks_are_rejected_before_they_latch(moving: GuardRig) -> None:
    for _ in range(2):
        moving.chunk([np.inf, 0, 0, 0, 0, 0])
    moving.run(0.1, FORWARD)
    rejected = [(e.kind, e.raw) for e in moving.events if "not finite: x" in e.reason]
    assert rejected == [("reject", (np.inf, 0, 0, 0, 0, 0))] * 2
    assert moving.guard.state is State.ARMED
    assert moving.commands()[-1].tolist() == pytest.approx(FORWARD)


def test_a_broken_clock_is_stopped_by_counting_ticks(moving: GuardRig) -> None:
    commands = [moving.step(0.0).command for _ in range(40)]
    values = np.array([c.values for c in commands if c is not None])
    assert len(values) == 40
    assert values[0].tolist() == values[1].tolist() == pytest.approx(FORWARD)
    assert not values[-1].any()
    assert np.abs(np.diff(values[:, 0])).max() <= 0.01 + 1e-9
    assert moving.results[-1].verdict.reason == "blocked"


def test_time_that_goes_back_stops(moving: GuardRig) -> None:
    moving.step(-3600.0)
    assert "stall" in moving.faults()
    assert moving.guard.state is State.STOPPING


def test_an_error_in_the_shaper_is_blocked_latched_and_braked(
    moving: GuardRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Shaper.advance
    monkeypatch.setattr(Shaper, "advance", lambda *a: right(*a) * 1.5)
    last = moving.commands()[-1]
    result = moving.step()
    assert result.state is State.LATCHED
    assert result.verdict.reason == "blocked"
    assert result.command is not None
    assert result.command.values[0] == pytest.approx(last[0] - 0.01)
    violation = next(e for e in result.events if e.fault == "violation")
    assert "velocity of x, y, z is 0.375, above 0.25" in violation.reason
    assert violation.sent == tuple(result.command.values.tolist())
    assert violation.raw == pytest.approx(FORWARD)
    moving.run(STOP_S)
    assert not moving.commands()[-1].any()
    monkeypatch.setattr(Shaper, "advance", right)
    moving.run(2.5)
    assert moving.guard.reset() == ()
    assert moving.run(0.1, FORWARD)[-1].verdict.reason == "policy"


# What policy and link may do


def test_chunks_before_hello_are_ignored() -> None:
    rig = GuardRig()
    rig.guard.on_instruction(rig.instruction)
    for _ in range(5):
        rig.chunk([np.nan] * 6)
    assert rig.step().verdict.reason == "waiting"
    assert rig.guard.state is State.BOOT


def test_a_restarted_policy_does_not_move_the_robot(moving: GuardRig) -> None:
    moving.guard.on_link_lost("the policy closed the link")
    moving.run(3.0)
    moving.hello()
    moving.health()
    moving.run(0.5, FORWARD)
    assert moving.results[-1].command is None
    assert moving.guard.state is State.DISARMED


def test_chunks_of_before_arming_are_not_obeyed() -> None:
    rig = GuardRig()
    rig.ready()
    rig.run(0.15, FORWARD)
    rig.guard.arm()
    assert rig.step().verdict.reason == "waiting"


# Grippers and joints


def test_a_gripper_that_nobody_measures_starts_where_the_policy_wants_it() -> None:
    rig = GuardRig(WITH_GRIPPER)
    rig.arm()
    results = rig.run(0.1)
    assert {r.verdict.reason for r in results} == {"unknown"}
    assert all(r.command is None for r in results)
    rig.run(0.2, [0.1, 0, 0, 0, 0, 0, 0.8])
    commands = rig.commands()
    assert commands[0][6] == pytest.approx(0.8)
    assert np.linalg.norm(commands[0][:6]) <= 0.005


def test_stopping_before_anything_is_known_ends() -> None:
    rig = GuardRig(WITH_GRIPPER)
    rig.arm()
    rig.guard.disarm()
    rig.run(2.1)
    assert rig.guard.state is State.DISARMED
    assert len(rig.commands()) == 0


def test_a_stop_holds_gripper_and_joint() -> None:
    rig = GuardRig(ActionSpec(dimensions=(JOINT, GRIPPER)), ChunkTiming(1, 0.1, 0.1))
    rig.guard.on_feedback(np.array([0.5, 0.0]))
    rig.arm()
    rig.run(0.6, [1.5, 1.0])
    before = rig.commands()[-1]
    assert 0.5 < before[0] < 1.0
    rig.guard.on_link_lost("gone")
    rig.run(2.0)
    after = rig.commands()
    assert after[-1][0] == pytest.approx(before[0], abs=0.12)
    assert after[-1][0] > before[0]
    assert np.ptp(after[-100:], axis=0).tolist() == [0.0, 0.0]
    rig.run(1.0)
    assert rig.guard.state is State.DISARMED


def test_a_gripper_goes_on_from_what_was_published() -> None:
    rig = GuardRig(WITH_GRIPPER)
    rig.arm()
    rig.run(1.0, [0, 0, 0, 0, 0, 0, 0.8])
    rig.guard.disarm()
    rig.run(2.5)
    rig.hello()
    rig.health()
    assert rig.guard.arm() == ()
    first = rig.step()
    assert first.command is not None
    assert first.command.values[6] == pytest.approx(0.8)


def test_a_new_instruction_of_the_same_words_goes_on(moving: GuardRig) -> None:
    moving.guard.on_instruction(Instruction.of("  pick up the  red block", moving.clock.now_ns()))
    assert moving.step().verdict.reason == "policy"


def test_the_rows_of_a_chunk_follow_each_other() -> None:
    rig = GuardRig(timing=ChunkTiming(3, 0.1, 0.1))
    rig.arm()
    rig.chunk([[0.1, 0, 0, 0, 0, 0], [0.0, 0.1, 0, 0, 0, 0], [0.0, 0.0, 0.1, 0, 0, 0]], age_s=0.0)
    rig.run(0.29)
    commands = rig.commands()
    first = [int(np.flatnonzero(commands[:, axis])[0]) for axis in range(3)]
    # Rows begin at ticks 1, 10 and 20 after the frame, and act one period later.
    assert first == [1, 10, 20]


def test_it_is_locked_while_the_robot_may_move(rig: GuardRig) -> None:
    assert not GuardRig().guard.locked
    assert rig.guard.locked
    rig.run(0.5, FORWARD)
    rig.guard.disarm()
    assert rig.guard.locked
    rig.run(3.0)
    assert rig.guard.state is State.DISARMED
    assert not rig.guard.locked
    assert rig.guard.arm() == ()
    rig.run(0.5, FORWARD)
    rig.guard.on_estop(True)
    rig.run(0.1)
    assert rig.guard.state is State.LATCHED
    assert rig.guard.locked
    rig.run(3.0)
    assert not rig.guard.locked
