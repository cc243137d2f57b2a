"""The arming state machine against a small model of it, over any sequence of acts."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import GuardRig

FORWARD = [0.2, 0, 0, 0, 0, 0]
BAD = [float("nan")] + [0.0] * 5
REST_S = 0.2


class ArmingModel(RuleBasedStateMachine):
    """What an operator may rely on, without looking inside."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = GuardRig(limits=Limits(rest_s=REST_S))
        self.state = State.BOOT
        self.connected = self.peers = self.pressed = False
        self.bad = 0
        self.before: list[State] = [State.BOOT]

    # What others do

    @rule()
    def policy_connects(self) -> None:
        self.rig.hello()
        self.rig.health()
        self.connected = True
        self.bad = 0
        if self.state is State.BOOT:
            self.state = State.DISARMED
        self.leave_armed()

    @rule()
    def policy_dies(self) -> None:
        self.rig.guard.on_link_lost("gone")
        self.connected = False
        self.leave_armed()

    @rule()
    def peers_match(self) -> None:
        self.rig.guard.on_peers(True)
        self.peers = True

    @rule()
    def another_publisher(self) -> None:
        self.rig.guard.on_peers(False, "another publisher")
        self.peers = False
        self.leave_armed()

    @precondition(lambda self: self.connected)
    @rule()
    def good_chunk(self) -> None:
        self.rig.health()
        self.rig.chunk(FORWARD)
        self.bad = 0

    @precondition(lambda self: self.connected)
    @rule()
    def bad_chunk(self) -> None:
        self.rig.chunk(BAD)
        self.bad += 1
        if self.bad >= 3:
            self.state = State.LATCHED

    @rule(text=st.sampled_from(["go", "stay"]))
    def instruction(self, text: str) -> None:
        self.rig.say(text)

    # What an operator does

    @rule()
    def press(self) -> None:
        self.rig.guard.on_estop(True)
        self.pressed = True
        self.state = State.LATCHED

    @rule()
    def release(self) -> None:
        self.rig.guard.on_estop(False)
        self.pressed = False

    @rule()
    def arm(self) -> None:
        if self.connected:
            self.rig.health()
        granted = self.rig.guard.arm() == ()
        assert granted == (self.state is State.DISARMED and self.connected and self.peers and not self.pressed)
        if granted:
            self.state = State.ARMED
            self.bad = 0

    @rule()
    def disarm(self) -> None:
        self.rig.guard.disarm()
        self.leave_armed()

    @rule()
    def reset(self) -> None:
        publishing = self.rig.guard.publishing
        granted = self.rig.guard.reset() == ()
        assert granted == (self.state is State.LATCHED and not self.pressed and not publishing)
        if granted:
            self.state = State.DISARMED
            self.bad = 0

    # Time

    @rule()
    def a_moment(self) -> None:
        self.pass_time(0.05)

    @rule()
    def long_enough_to_stop(self) -> None:
        self.pass_time(0.5 + REST_S + 0.05)
        if self.state is State.STOPPING:
            self.state = State.DISARMED
        if self.state is State.LATCHED:
            assert not self.rig.guard.publishing

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.01)):
            if self.connected:
                self.rig.health()
            self.rig.step()
            if self.state is State.STOPPING and self.rig.guard.state is State.DISARMED:
                self.state = State.DISARMED
            # A chunk in use may become too old, which is the policy's fault and not the model's concern.
            if self.state is State.ARMED and self.rig.guard.state is State.STOPPING:
                assert self.rig.faults()[-1] == "stale_chunk"
                self.state = State.STOPPING

    def leave_armed(self) -> None:
        if self.state is State.ARMED:
            self.state = State.STOPPING

    @invariant()
    def the_guard_agrees(self) -> None:
        assert self.rig.guard.state is self.state

    @invariant()
    def nothing_is_published_by_a_guard_that_is_disarmed(self) -> None:
        if self.rig.results and self.rig.results[-1].state in (State.BOOT, State.DISARMED):
            tail = self.rig.results[-2:]
            assert len(tail) < 2 or tail[0].state is not State.DISARMED or tail[1].command is None


TestArmingModel = ArmingModel.TestCase
TestArmingModel.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
