"""A lifecycle node whose transitions are done by its owner, in the owner's thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from jetvla.runtime.ros.spinner import Mailbox

log = logging.getLogger(__name__)

Transition = Callable[[], tuple[str, ...]]


@dataclass(frozen=True)
class Transitions:
    """What each transition does; it returns the reasons of a refusal, empty if it was done."""

    configure: Transition
    activate: Transition
    deactivate: Transition
    cleanup: Transition
    shutdown: Transition


class ManagedNode(LifecycleNode):  # type: ignore[misc]  # rclpy has no types
    """Refuses every transition until :meth:`serve` has been called."""

    _transitions: Transitions | None = None
    _mailbox: Mailbox

    def serve(self, transitions: Transitions, mailbox: Mailbox) -> None:
        """From now on ask ``transitions``, which are done where ``mailbox`` is worked off."""
        self._transitions, self._mailbox = transitions, mailbox
        for service in self.services:
            if service.srv_type is ChangeState:
                service.callback = partial(self._change, service.callback)

    def start(self) -> None:
        """Go to ``active``, as a lifecycle manager would."""
        self.trigger_configure()
        self.trigger_activate()

    def on_configure(self, _: Any) -> TransitionCallbackReturn:
        return self._do("configure")

    def on_activate(self, _: Any) -> TransitionCallbackReturn:
        return self._do("activate")

    def on_deactivate(self, _: Any) -> TransitionCallbackReturn:
        return self._do("deactivate")

    def on_cleanup(self, _: Any) -> TransitionCallbackReturn:
        return self._do("cleanup")

    def on_shutdown(self, _: Any) -> TransitionCallbackReturn:
        return self._do("shutdown")

    def _change(self, change: Callable[[Any, Any], Any], request: Any, response: Any) -> Any:
        """rclpy raises, and never answers, where no arrow of the lifecycle leads from here."""
        try:
            return change(request, response)
        except RuntimeError as error:
            log.error("no such transition from here: %s", error)
            response.success = False
            return response

    def _do(self, name: str) -> TransitionCallbackReturn:
        if self._transitions is None:
            return TransitionCallbackReturn.FAILURE
        refusals = self._mailbox.ask(getattr(self._transitions, name))
        if not refusals:
            return TransitionCallbackReturn.SUCCESS
        # The service answers yes or no alone; the log says why.
        log.error("%s refused: %s", name, "; ".join(refusals))
        return TransitionCallbackReturn.FAILURE
