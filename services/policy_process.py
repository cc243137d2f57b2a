"""The policy at work: cameras, instruction and engine in; chunks out over the link."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from queue import SimpleQueue
from threading import Event

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.cameras import ImageTopics
from jetvla.runtime.clock import Clock, MonotonicClock
from jetvla.runtime.config import Config
from jetvla.runtime.contracts import Instruction
from jetvla.runtime.errors import ConfigError, LinkError
from jetvla.runtime.instructions import InstructionInbox
from jetvla.runtime.link.client import PolicyLink
from jetvla.runtime.link.protocol import Hello
from jetvla.runtime.policy.actor import Actor
from jetvla.runtime.policy.golden import GoldenResult, run_golden
from jetvla.runtime.policy.heartbeat import Heartbeat, Sender
from jetvla.runtime.policy.loop import PATIENCE_S, PolicyLoop, Turn
from jetvla.runtime.policy.model import Model, open_model
from jetvla.runtime.policy.sight import Sight, open_sight
from jetvla.runtime.policy.state import JointSense

log = logging.getLogger("jetvla.policy")

_RETRY_LINK_S = 0.2


class PolicyProcess:
    """Everything that the policy process owns.

    The engine is opened and has passed or failed its golden self-test before the link is made; a failed test is
    told to the guard, which then does not arm.

    Args:
        config: the whole configuration.
        bundle: the verified bundle.
        observers: called after every turn of the loop.

    Raises:
        BundleError, ConfigError, EngineError, MissingDependency: if it cannot run at all.
    """

    def __init__(
        self,
        config: Config,
        bundle: Bundle,
        observers: Iterable[Callable[[Turn], None]] = (),
        clock: Clock | None = None,
    ) -> None:
        self._config, self._clock = config, clock or MonotonicClock()
        self._observers = tuple(observers)
        # The ROS thread puts sentences here and the loop hears them, so the inbox needs no lock.
        self._spoken: SimpleQueue[str] = SimpleQueue()
        self._inbox = InstructionInbox(config.instruction, self._clock)
        self._resources = ExitStack()
        self._joints = _joint_sense(config, bundle, self._clock)
        self._model = open_model(bundle, config.policy, self._clock)
        self.golden = _self_test(self._model)

    def __enter__(self) -> PolicyProcess:
        """Open ROS 2 if any camera or output needs it; the cameras open when they are first read."""
        with ExitStack() as resources:
            topics = self._open_ros(resources) if self._config.uses_ros else None
            manifest = self._model.bundle.manifest
            self._sight = open_sight(self._config.cameras, manifest, self._clock, topics)
            resources.callback(self._sight.close)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def run(self, asked: Event) -> None:
        """Serve one guard after the other until ``asked``.

        Raises:
            EngineError: if a step failed. The link is closed then, and the guard stops the robot.
        """
        link = PolicyLink(self._config.socket)
        actor, told = Actor(self._model), ""
        while not asked.is_set():
            try:
                link.connect()
                with Heartbeat(link, self._clock) as sender:
                    sender.send(self._hello())
                    log.info("connected to the guard")
                    self._loop(self._sight, actor, sender).run(asked.is_set)
            except LinkError as error:
                if str(error) != told:
                    told = str(error)
                    log.info("%s; trying again", error)
                # What is said meanwhile counts from now, as it does in the guard.
                self.instruction()
                asked.wait(_RETRY_LINK_S)
            finally:
                link.close()

    def instruction(self) -> Instruction | None:
        """The sentence that holds now, after hearing all that was spoken since."""
        while not self._spoken.empty():
            heard = self._inbox.hear(self._spoken.get())
            log.info("instruction %s", heard.value)
        return self._inbox.current()

    def _open_ros(self, resources: ExitStack) -> ImageTopics:
        from jetvla.runtime.ros.policy_node import PolicyNode

        feel = None if self._joints is None else self._joints.receive
        node = PolicyNode(self._config, self._spoken.put, feel)
        resources.callback(node.close)
        return node

    def _loop(self, sight: Sight, actor: Actor, sender: Sender) -> PolicyLoop:
        rate_hz = self._config.policy.rate_hz
        replan_s = self._model.bundle.manifest.replan_s
        return PolicyLoop(
            sight,
            self.instruction,
            actor,
            sender,
            self._clock,
            rate_hz=None if rate_hz == "auto" else rate_hz,
            patience_s=max(PATIENCE_S, replan_s),
            observers=self._observers,
            joints=self._joints,
        )

    def _hello(self) -> Hello:
        # The layout has 32 bits for the error.
        error = min(self.golden.error, 1e38)
        return Hello(self._model.bundle.digest, self._model.key.digest().hex(), self.golden.passed, error)


def _joint_sense(config: Config, bundle: Bundle, clock: Clock) -> JointSense | None:
    names = bundle.manifest.state
    if not names:
        return None
    if config.state is None:
        raise ConfigError(
            f"the policy {bundle.manifest.name} needs the joint states {', '.join(names)}; name their topic, as "
            "state: {topic: /joint_states}"
        )
    return JointSense(config.state, names, clock)


def _self_test(model: Model) -> GoldenResult:
    golden = run_golden(model)
    model.forget()
    log.log(
        logging.INFO if golden.passed else logging.ERROR,
        "%s on %s %s, precision %s (%s): golden self-test %s, error %.3g of at most %.3g",
        model.bundle.manifest.name,
        model.key.backend,
        model.key.backend_version,
        model.precision,
        model.variant.name,
        "passed" if golden.passed else "FAILED; the guard will not arm",
        golden.error,
        golden.tolerance,
    )
    return golden
