"""The policy at work: cameras, instruction and engine in; chunks out over the link."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from queue import SimpleQueue

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.cameras import ImageTopics
from jetvla.runtime.clock import Clock, MonotonicClock
from jetvla.runtime.config import Config
from jetvla.runtime.contracts import Instruction
from jetvla.runtime.errors import LinkError
from jetvla.runtime.instructions import InstructionInbox
from jetvla.runtime.link.client import PolicyLink
from jetvla.runtime.link.protocol import Hello
from jetvla.runtime.policy.actor import Actor
from jetvla.runtime.policy.golden import GoldenResult, run_golden
from jetvla.runtime.policy.heartbeat import Heartbeat, Sender
from jetvla.runtime.policy.loop import PATIENCE_S, PolicyLoop, Turn
from jetvla.runtime.policy.model import Model, open_model
from jetvla.runtime.policy.sight import open_sight
from jetvla.runtime.policy.state import Proprioception, open_sense
from jetvla.runtime.ros.installed import check_installed
from jetvla.services.policy_progress import PolicyProgress
from jetvla.services.service_manager import Notifier, Unmanaged
from jetvla.services.termination import EndRequest

log = logging.getLogger("jetvla.policy")

_RETRY_LINK_S = 0.2


class PolicyProcess:
    """Everything that the policy process owns.

    The engine is opened and has passed or failed its golden self-test before the link is made; a failed test is
    told to the guard, which then does not arm.

    Args:
        config: the whole configuration.
        bundle: the verified bundle.
        notifier: is told that the policy is ready, makes progress, and what it does.
        reloaded: gives the configuration to go on with, after a reload; else None.
        observers: called after every turn of the loop.
        joints: knows the state in place of the configured topic.

    Raises:
        BundleError, ConfigError, EngineError, MissingDependency: if it cannot run at all.
    """

    def __init__(
        self,
        config: Config,
        bundle: Bundle,
        notifier: Notifier | None = None,
        reloaded: Callable[[], Config | None] = lambda: None,
        clock: Clock | None = None,
        observers: Iterable[Callable[[Turn], None]] = (),
        joints: Proprioception | None = None,
    ) -> None:
        self._observers = tuple(observers)
        self._config, self._clock = config, clock or MonotonicClock()
        self._notifier, self._reloaded = notifier or Notifier(Unmanaged()), reloaded
        # The ROS thread puts sentences here and the loop hears them, so the inbox needs no lock.
        self._spoken: SimpleQueue[str] = SimpleQueue()
        self._inbox = InstructionInbox(config.instruction, self._clock)
        self._resources = ExitStack()
        self._loop: PolicyLoop | None = None
        self._heard = open_sense(config.state, bundle.manifest, self._clock) if joints is None else None
        self._joints = joints or self._heard
        self._model = open_model(bundle, config.policy, self._clock)
        self.golden = _self_test(self._model)
        self._progress = PolicyProgress(self._notifier, _engine(self._model), bundle.digest, self._clock)

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

    def run(self, asked: EndRequest) -> None:
        """Serve one guard after the other until ``asked``.

        Raises:
            EngineError: if a step failed. The link is closed then, and the guard stops the robot.
        """
        link = PolicyLink(self._config.socket)
        actor, told = Actor(self._model), ""
        self._notifier.ready(f"golden self-test {'passed' if self.golden.passed else 'FAILED'}; waits for the guard")
        while not asked.is_set():
            try:
                link.connect()
                with Heartbeat(link, self._clock) as sender:
                    sender.send(self._hello())
                    log.info("connected to the guard")
                    self._loop = self._made_loop(actor, sender)
                    self._loop.run(asked.is_set)
            except LinkError as error:
                if str(error) != told:
                    told = str(error)
                    log.info("%s; trying again", error)
                # What is said meanwhile counts from now, as it does in the guard.
                self.instruction()
                self._progress.waiting(str(error))
                self._reload()
                asked.wait(_RETRY_LINK_S)
            finally:
                self._loop = None
                link.close()
        self._notifier.stopping()

    def instruction(self) -> Instruction | None:
        """The sentence that holds now, after hearing all that was spoken since."""
        while not self._spoken.empty():
            heard = self._inbox.hear(self._spoken.get())
            log.info("instruction %s", heard.value)
        return self._inbox.current()

    def _open_ros(self, resources: ExitStack) -> ImageTopics:
        check_installed()
        from jetvla.runtime.ros.policy_node import PolicyNode

        feel = None if self._heard is None else self._heard.receive
        node = PolicyNode(self._config, self._spoken.put, feel)
        resources.callback(node.close)
        return node

    def _made_loop(self, actor: Actor, sender: Sender) -> PolicyLoop:
        return PolicyLoop(
            self._sight,
            self.instruction,
            actor,
            sender,
            self._clock,
            rate_hz=self._rate_hz,
            patience_s=max(PATIENCE_S, self._model.bundle.manifest.replan_s),
            observers=(*self._observers, self._progress, self._reload),
            joints=self._joints,
        )

    @property
    def _rate_hz(self) -> float | None:
        rate_hz = self._config.policy.rate_hz
        return None if rate_hz == "auto" else rate_hz

    def _reload(self, _: Turn | None = None) -> None:
        """Take over what may change while the policy runs."""
        if (config := self._reloaded()) is None:
            return
        self._config = config
        self._inbox.follow(config.instruction)
        if self._loop is not None:
            self._loop.pace(self._rate_hz)

    def _hello(self) -> Hello:
        # The layout has 32 bits for the error.
        error = min(self.golden.error, 1e38)
        return Hello(self._model.bundle.digest, self._model.key.digest().hex(), self.golden.passed, error)


def _engine(model: Model) -> str:
    return f"{model.key.backend} {model.key.backend_version}, {model.precision} ({model.variant.name})"


def _self_test(model: Model) -> GoldenResult:
    golden = run_golden(model)
    model.forget()
    log.log(
        logging.INFO if golden.passed else logging.ERROR,
        "%s on %s: golden self-test %s, error %.3g of at most %.3g",
        model.bundle.manifest.name,
        _engine(model),
        "passed" if golden.passed else "FAILED; the guard will not arm",
        golden.error,
        golden.tolerance,
    )
    return golden
