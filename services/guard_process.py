"""The guard at work: link, ROS 2 and clock in; commands, state and status out."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import Clock, MonotonicClock, seconds_to_ns
from jetvla.runtime.config import Config
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.core import Guard
from jetvla.runtime.guard.events import TickResult
from jetvla.runtime.guard.pacer import Pacer
from jetvla.runtime.instructions import Heard, InstructionInbox
from jetvla.runtime.link.protocol import ChunkMessage, Health, Hello, Idle, Message
from jetvla.runtime.link.server import GuardLink, LinkLost
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.ros.spinner import Mailbox, Spinner
from jetvla.runtime.sinks import CommandSink, open_sink
from jetvla.runtime.telemetry.status import write_status
from jetvla.services.guard_report import GuardReport

if TYPE_CHECKING:
    from jetvla.runtime.ros.guard_node import GuardNode

_STATUS_EVERY_S = 0.5
_PEERS_EVERY_S = 0.5
# The account of the policy's unit; it may connect beside the guard's own.
POLICY_USER = "jetvla-policy"


class GuardProcess:
    """Everything that the guard process owns. One thread decides and sends; ROS callbacks only leave it mail.

    Args:
        config: the whole configuration.
        bundle: the verified bundle; its manifest says what the actions mean.
        scheduling: how the process is scheduled, for the status.
    """

    def __init__(self, config: Config, bundle: Bundle, scheduling: str = "plain", clock: Clock | None = None) -> None:
        manifest = bundle.manifest
        self._clock = clock or MonotonicClock()
        self._config, self._bundle = config, bundle
        timing = ChunkTiming.of(manifest)
        self.guard = Guard(manifest.action, timing, config.limits, config.guard.rate_hz, bundle.digest, self._clock)
        self.report = GuardReport(self._clock, bundle.digest)
        self._inbox = InstructionInbox(config.instruction, self._clock)
        self._instruction = self._inbox.current()
        self.guard.on_instruction(self._instruction)
        self._mailbox = Mailbox()
        self._due_ns = {"status": 0, "peers": 0}
        self._resources = ExitStack()
        self._session: RosSession | None = None
        self._node: GuardNode | None = None

    def __enter__(self) -> GuardProcess:
        """Open ROS 2, the sinks and last the link: a policy can connect once all else is ready."""
        with ExitStack() as resources:
            if self._config.uses_ros:
                self._open_ros(resources)
            self._sinks = self._open_sinks(resources)
            self._link = GuardLink(self._config.socket, _policy_users())
            resources.callback(self._link.close)
            self._resources = resources.pop_all()
        self._pacer = Pacer(self._clock, self._config.guard.rate_hz)
        self._publish_state()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _open_ros(self, resources: ExitStack) -> None:
        from jetvla.runtime.ros.guard_node import GUARD_NODE, GuardNode, Operator

        self._session = RosSession(GUARD_NODE, self._config.ros.namespace, self._config.ros.domain_id)
        resources.callback(self._session.close)
        operator = Operator(self.instruct, self.guard.on_estop, self.arm, self._disarm, self.guard.reset)
        self._node = GuardNode(self._session, self._config, operator, self._mailbox)
        resources.callback(Spinner(self._session).close)

    def _open_sinks(self, resources: ExitStack) -> tuple[CommandSink, ...]:
        spec = self._bundle.manifest.action
        sinks = []
        for output in self._config.guard.outputs:
            sinks.append(open_sink(output, spec, self._session, 1 / self._config.guard.rate_hz))
            resources.callback(sinks[-1].close)
        sent = {name for sink in sinks for name in sink.dimensions}
        if unsent := [name for name in spec.names if name not in sent]:
            self.report.note(f"no output takes the action dimensions {', '.join(unsent)}")
        return tuple(sinks)

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
        """Tick until ``until()``; then stop the robot, and return when nothing is published any more."""
        while not until():
            self.tick()
            self._pacer.wait()
        self.guard.stop("the guard is shutting down")
        while self.guard.publishing:
            self.tick()
            self._pacer.wait()
        self._write_status()

    def tick(self) -> None:
        """Take in what has come, decide, send, report."""
        self._mailbox.work()
        for event in self._link.poll():
            self._take(event)
        self._follow_instruction()
        self._every("peers", _PEERS_EVERY_S, self._look_at_peers)
        began_ns = self._clock.now_ns()
        result = self.guard.tick()
        self.report.decided(began_ns)
        self._send(result)
        if self.report.events(result.events):
            self._publish_state()
            self._write_status()
        self._every("status", _STATUS_EVERY_S, self._write_status)

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
            self.guard.on_health(event)
            self.report.health(event)
        elif isinstance(event, Idle):
            self.guard.on_idle(event)
            self.report.policy = f"idle, {event.reason.name.lower().replace('_', ' ')}: {event.text}".rstrip(": ")
        elif isinstance(event, Hello):
            self.guard.on_hello(event)
            verdict = "passed" if event.golden_passed else "FAILED"
            self.report.policy = "connected"
            self.report.note(f"policy connected; golden self-test {verdict}, error {event.golden_error:.2g}")
        elif isinstance(event, LinkLost):
            self.guard.on_link_lost(event.reason)
            self.report.policy = f"lost: {event.reason}"

    def _follow_instruction(self) -> None:
        current = self._inbox.current()
        if current != self._instruction:
            self._instruction = current
            self.guard.on_instruction(current)
            self.report.note(f"instruction: {current.text if current else 'none'}")

    def _look_at_peers(self) -> None:
        problems = [problem for sink in self._sinks for problem in sink.peer_problems()]
        self.guard.on_peers(not problems, "; ".join(problems))

    # Out

    def _send(self, result: TickResult) -> None:
        if result.command is None:
            for sink in self._sinks:
                sink.stay_alive()
            return
        began_ns = self._clock.now_ns()
        for sink in self._sinks:
            sink.publish(result.command)
        self.report.published(result, began_ns)

    def _publish_state(self) -> None:
        if self._node is not None:
            self._node.publish_state(self.guard.state.value, self.report.reason)

    def _write_status(self) -> None:
        write_status(self.report.status(self.guard.state, self._instruction), self._config.status)


def _policy_users() -> set[int]:
    users = {os.getuid()}
    with suppress(KeyError):
        users.add(pwd.getpwnam(POLICY_USER).pw_uid)
    return users
