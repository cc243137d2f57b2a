"""A thread that runs a session's callbacks, so that no clock and no network can hold up its owner's loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as AnswerTimeout  # the built-in one from Python 3.11 on
from queue import SimpleQueue

from jetvla.runtime.ros.session import RosSession

# A wait of rclpy may follow the wall clock, and so outlast any time-out when that is set back: what matters
# wakes it.
_WAIT_S = 1.0
# Between two failures, or one that lasts would fill the log and the processor.
_PAUSE_S = 0.02
ANSWER_S = 1.0

log = logging.getLogger(__name__)


class Mailbox:
    """Actions that one thread hands to another, its owner, which does them when it calls :meth:`work`.

    The owner is the thread that made it.
    """

    def __init__(self) -> None:
        self._owner = threading.get_ident()
        self._actions: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def post(self, action: Callable[[], None]) -> None:
        """Hand over ``action`` and go on."""
        self._actions.put(action)

    def ask(self, action: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """Hand over ``action`` and wait for its answer: reasons of a refusal, empty if it was done.

        Asked by the owner itself, it is done at once. What was not begun in time is never done: a robot must not be
        armed by a wish that has been answered with no.
        """
        if threading.get_ident() == self._owner:
            return action()
        answer: Future[tuple[str, ...]] = Future()
        self._actions.put(lambda: _answer(answer, action))
        try:
            return answer.result(ANSWER_S)
        except AnswerTimeout:
            return (f"the guard did not answer within {ANSWER_S:g} s",) if answer.cancel() else answer.result()

    def work(self) -> None:
        """Do everything that was handed over, in order."""
        while not self._actions.empty():
            self._actions.get()()


def _answer(answer: Future[tuple[str, ...]], action: Callable[[], tuple[str, ...]]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        answer.set_result(action())
    except BaseException as error:
        # Who asks must not wait for ever, and the owner has failed.
        answer.set_exception(error)
        raise


class Spinner:
    """Spins ``session`` from construction until :meth:`close`."""

    def __init__(self, session: RosSession) -> None:
        self._session = session
        self._changes = Mailbox()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._closing.is_set():
            try:
                self._changes.work()
                self._session.spin_once(_WAIT_S)
            except Exception:
                # One message that breaks its callback must not make the node deaf to the e-stop after it.
                log.exception("a callback of ROS 2 failed; going on")
                self._closing.wait(_PAUSE_S)

    def change(self, action: Callable[[], None]) -> None:
        """Do ``action`` between two spins: rclpy's entities may change only while nobody spins."""
        self._changes.post(action)
        self._session.wake()

    def close(self) -> None:
        """End the thread; the session stays open."""
        self._closing.set()
        self._session.wake()
        self._thread.join()
