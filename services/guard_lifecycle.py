"""The guard's lifecycle: what ROS 2's transitions mean here. Arming is separate, and never one of them."""

from __future__ import annotations

from collections.abc import Callable

from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.guard.core import Guard

Refusals = tuple[str, ...]


class Lifecycle:
    """configure opens the outputs, activate permits arming, deactivate stops the robot, cleanup closes the outputs.

    Every transition returns why it was refused; empty if it was done. One that changes nothing is done.

    Args:
        open_outputs: raises JetvlaError if it cannot.
        close_outputs: undoes it.

    Attributes:
        active: arming is permitted.
        ended: shut down; the process is to stop the robot and end.
    """

    def __init__(self, guard: Guard, open_outputs: Callable[[], None], close_outputs: Callable[[], None]) -> None:
        self._guard, self._open, self._close = guard, open_outputs, close_outputs
        self._configured = False
        self.active = self.ended = False

    def start(self) -> None:
        """Configure and activate; JetvlaError if that fails."""
        if not self._configured:
            self._open()
        self._configured = self.active = True

    def configure(self) -> Refusals:
        if self._configured:
            return ()
        try:
            self._open()
        except JetvlaError as error:
            return (str(error),)
        self._configured = True
        return ()

    def activate(self) -> Refusals:
        self.active = True
        return ()

    def deactivate(self) -> Refusals:
        self.active = False
        self._guard.stop("the node is deactivated")
        return ()

    def cleanup(self) -> Refusals:
        """Refused while the robot is still being stopped: its driver would miss the zeros."""
        if self._guard.publishing:
            return ("the robot is not stopped yet; try again in a moment",)
        self._close()
        self._configured = False
        return ()

    def shutdown(self) -> Refusals:
        self.active, self.ended = False, True
        self._guard.stop("the node is shut down")
        return ()

    def refusals(self) -> Refusals:
        """Why arming is not permitted; empty if it is."""
        if self.active:
            return ()
        return ("the node is not active; run: ros2 lifecycle set /jetvla_guard activate (after configure)",)
