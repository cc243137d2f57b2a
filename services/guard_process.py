"""The guard at work: link, ROS 2 and clock in; commands, state and status out."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import Clock, MonotonicClock, seconds_to_ns
from jetvla.runtime.config import Config
from jetvla.runtime.guard.events import TickResult
from jetvla.runtime.guard.pacer import Pacer
from jetvla.runtime.instructions import Heard, InstructionInbox
from jetvla.runtime.link.protocol import ChunkMessage, Health, Hello, Idle, Message
from jetvla.runtime.link.server import GuardLink, LinkLost
from jetvla.runtime.ros.installed import check_installed
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.ros.spinner import Mailbox, Spinner
from jetvla.runtime.ros_names import GUARD_NODE
from jetvla.runtime.telemetry.status import StatusWriter
from jetvla.services.bundle_fit import build_guard, unsent_note
from jetvla.services.guard_diagnosis import diagnose
from jetvla.services.guard_lifecycle import Lifecycle
from jetvla.services.guard_outputs import Outputs
from jetvla.services.guard_report import GuardReport
from jetvla.services.policy_account import policy_users
from jetvla.services.recording.tap import Tap
from jetvla.services.service_manager import Notifier, Unmanaged
from jetvla.services.spans import open_spans
from jetvla.services.status_line import Rate, guard_line

if TYPE_CHECKING:
    from jetvla.runtime.ros.guard_node import GuardNode

_STATUS_EVERY_S = 0.5
_PEERS_EVERY_S = 0.5
_DIAGNOSTICS_EVERY_S = 1.0
_RECORDER_EVERY_S = 0.05
# A fifth of the liveliness lease of a command topic.
_ALIVE_EVERY_S = 0.05


class GuardProcess:
    """Everything that the guard process owns. One thread decides and sends; ROS callbacks only leave it mail.

    Args:
        config: the whole configuration.
        bundle: the verified bundle; its manifest says what the actions mean.
        notifier: is told that the guard is ready, ticks, and what it does.
        reloaded: gives the configuration to go on with, after a reload; else None.

    Raises:
        ConfigError: if the configured feedback is none of this bundle's actions.
    """

    def __init__(
        self,
        config: Config,
        bundle: Bundle,
        notifier: Notifier | None = None,
        reloaded: Callable[[], Config | None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or MonotonicClock()
        self._config, self._bundle = config, bundle
        self._notifier, self._reloaded = notifier or Notifier(Unmanaged()), reloaded
        self._rate = Rate(self._clock)
        self.guard, self._feedback = build_guard(config, bundle, self._clock)
        self.report = GuardReport(self._clock, bundle.digest)
        self._inbox = InstructionInbox(config.instruction, self._clock)
        self._instruction = self._inbox.current()
        self.guard.on_instruction(self._instruction)
        self._mailbox = Mailbox()
        self._due_ns = dict.fromkeys(("recorder", "alive", "status", "peers", "diagnostics"), 0)
        self._health: Health | None = None
        self._outputs = Outputs()
        self.lifecycle = Lifecycle(self.guard, self._open_outputs, self._outputs.close)
        self._resources = ExitStack()
        self._session: RosSession | None = None
        self._node: GuardNode | None = None

    def __enter__(self) -> GuardProcess:
        """Open ROS 2, the sinks and last the link: a policy can connect once all else is ready."""
        with ExitStack() as resources:
            self.report.spans = resources.enter_context(open_spans(self._config.spans("guard"), self._clock))
            self._status = StatusWriter(self._config.status)
            resources.callback(self._status.close)
            resources.enter_context(self.report.auditing(self._config.telemetry.audit, self._config.digest))
            if self._config.uses_ros:
                self._open_ros(resources)
            else:
                resources.callback(self._outputs.close)
                self.lifecycle.start()
            self._link = GuardLink(self._config.socket, policy_users())
            resources.callback(self._link.close)
            self._tap = Tap(self._config.tap, {0, os.getuid()}, self.guard, self._config.digest)
            resources.callback(self._tap.close)
            self._resources = resources.pop_all()
        self._pacer = Pacer(self._clock, self._config.guard.rate_hz)
        self._publish_state()
        self._notifier.ready("waits for the policy")
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _open_ros(self, resources: ExitStack) -> None:
        check_installed()
        from jetvla.runtime.ros.guard_node import GuardNode, Operator
        from jetvla.runtime.ros.managed_node import Transitions

        ros, guard, lifecycle = self._config.ros, self.guard, self.lifecycle
        self._session = RosSession(GUARD_NODE, ros.namespace, ros.domain_id, managed=True)
        resources.callback(self._session.close)
        resources.callback(self._outputs.close)
        receive = None if self._feedback is None else self._feedback.receive
        operator = Operator(self.instruct, guard.on_estop, guard.on_deadman, self.arm, self._disarm, guard.reset)
        transitions = Transitions(
            lifecycle.configure, lifecycle.activate, lifecycle.deactivate, lifecycle.cleanup, lifecycle.shutdown
        )
        self._node = GuardNode(
            self._session, self._config, operator, transitions, self._mailbox, self._bundle.digest, receive
        )
        if ros.autostart:
            # First by itself, for a transition of ROS 2 would swallow the error.
            lifecycle.start()
            self._node.start()
        resources.callback(Spinner(self._session).close)

    def _open_outputs(self) -> None:
        spec = self._bundle.manifest.action
        self._outputs.open(self._config, spec, self._session)
        if note := unsent_note(self._outputs.unsent(spec)):
            self.report.note(note)

    # What an operator asks for

    def instruct(self, text: str) -> None:
        """A sentence has been spoken. A stop word stops the robot before any model sees it."""
        heard = self._inbox.hear(text)
        if heard is Heard.STOP:
            self.guard.stop(f"stop word in {text!r}")
        elif heard is Heard.TOO_LONG:
            cap = self._config.instruction.max_chars
            self.report.note(f"an instruction of {len(text)} characters is refused; at most {cap}")
        self._follow_instruction()

    def arm(self) -> tuple[str, ...]:
        """Arm, after a fresh look at the peers; the reasons of a refusal, empty if armed."""
        self._look_at_peers()
        return self.guard.arm()

    def _disarm(self) -> tuple[str, ...]:
        self.guard.disarm()
        return ()

    # The loop

    def run(self, until: Callable[[], bool]) -> None:
        """Tick until ``until()``, or a shutdown by ROS 2; then stop the robot, and return when nothing is published any
        more.
        """
        try:
            while not (until() or self.lifecycle.ended):
                self._turn()
            self._notifier.stopping()
            self.guard.stop("the guard is shutting down")
            while self.guard.publishing:
                self._turn()
            self._write_status()
        finally:
            self._come_to_rest()

    def _come_to_rest(self) -> None:
        """Whatever failed on the way, a robot that moves is stopped by what stops it, and by nothing more."""
        self.guard.stop("the guard failed")
        while self.guard.publishing:
            if (command := self.guard.tick().command) is not None:
                with suppress(Exception):
                    self._outputs.send(command)
            self._pacer.wait()

    def _turn(self) -> None:
        self.tick()
        self.report.woke(self._pacer.wait())

    def tick(self) -> None:
        """Take in what has come, decide, send, report."""
        self._every("recorder", _RECORDER_EVERY_S, self._look_for_recorder)
        self._mailbox.work()
        self._reload()
        for event in self._link.poll():
            self._take(event)
        self._follow_instruction()
        if self._feedback is not None:
            self._feedback.give(self.guard)
        self._every("peers", _PEERS_EVERY_S, self._look_at_peers)
        began_ns = self._clock.now_ns()
        result = self.guard.tick()
        self.report.decided(result.verdict, began_ns)
        self._send(result)
        if self.report.events(result.events):
            self._publish_state()
            self._write_status()
        self._every("status", _STATUS_EVERY_S, self._write_status)
        self._every("diagnostics", _DIAGNOSTICS_EVERY_S, self._publish_diagnostics)
        self._notifier.progress()

    def _reload(self) -> None:
        """Take over what may change while the guard runs. It waits while the robot may move."""
        if self.guard.locked or (config := self._reloaded()) is None:
            return
        self._config = config
        self._inbox.follow(config.instruction)
        self._tap.configured(config.digest)
        self.report.configured(config.digest)

    def _every(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        now_ns = self._clock.now_ns()
        if now_ns >= self._due_ns[name]:
            self._due_ns[name] = now_ns + seconds_to_ns(seconds)
            action()

    # In

    def _take(self, event: Message | LinkLost) -> None:
        if isinstance(event, ChunkMessage):
            self.guard.on_chunk(event.chunk(self._bundle.digest))
            self.report.chunk(event)
        elif isinstance(event, Health):
            self._health = event
            self.guard.on_health(event)
            self.report.health(event)
        elif isinstance(event, Idle):
            self.guard.on_idle(event)
            self.report.policy = f"idle, {event.reason.name.lower().replace('_', ' ')}: {event.text}".rstrip(": ")
        elif isinstance(event, Hello):
            self.guard.on_hello(event)
            self.report.hello(event)
        elif isinstance(event, LinkLost):
            self._health = None
            self.guard.on_link_lost(event.reason)
            self.report.policy = f"lost: {event.reason}"

    def _follow_instruction(self) -> None:
        current = self._inbox.current()
        if current != self._instruction:
            self._instruction = current
            self.guard.on_instruction(current)
            self.report.note(f"instruction: {current.text if current else 'none'}")

    def _look_at_peers(self) -> None:
        problems = [*self.lifecycle.refusals(), *self._outputs.problems()]
        self.guard.on_peers(not problems, "; ".join(problems))
        if self._feedback is not None and (why := self._feedback.why()):
            self.report.note(f"feedback: {why}")

    def _look_for_recorder(self) -> None:
        if said := self._tap.poll():
            self.report.note(said)

    # Out

    def _send(self, result: TickResult) -> None:
        if result.command is None:
            self._every("alive", _ALIVE_EVERY_S, self._outputs.stay_alive)
            return
        began_ns = self._clock.now_ns()
        self._outputs.send(result.command)
        self.report.published(result, began_ns)

    def _publish_state(self) -> None:
        if self._node is not None:
            self._node.publish_state(self.guard.state.value, self.report.reason)

    def _publish_diagnostics(self) -> None:
        if self._node is None:
            return
        status = self.report.status(self.guard.state, self._instruction)
        cameras = [camera.name for camera in self._bundle.manifest.cameras]
        self._node.publish_diagnostics(
            diagnose(self.guard, status, self._health, cameras, self.lifecycle.active, self._clock.now_ns())
        )

    def _write_status(self) -> None:
        status = self.report.status(self.guard.state, self._instruction)
        self._status.post(status)
        self._notifier.status(guard_line(status, self._rate.of(status.chunks, "chunks")))
