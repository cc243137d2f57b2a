"""What one thread asks of another, and a node's thread that nothing ends but its owner."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from jetvla.runtime.ros import spinner
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.ros.spinner import Mailbox, Spinner

PATIENCE_S = 60.0


def test_what_is_asked_is_done_by_the_owner_and_answered() -> None:
    mailbox, done_by = Mailbox(), []

    def action() -> tuple[str, ...]:
        done_by.append(threading.get_ident())
        return ("no",)

    with ThreadPoolExecutor(1) as other:
        answer = other.submit(mailbox.ask, action)
        while not answer.done():
            mailbox.work()
        assert answer.result() == ("no",)
    assert done_by == [threading.get_ident()]
    assert mailbox.ask(action) == ("no",), "the owner needs not wait for itself"


def test_what_was_not_begun_in_time_is_never_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spinner, "ANSWER_S", 0.01)
    mailbox, armed = Mailbox(), []

    def arm() -> tuple[str, ...]:
        armed.append(True)
        return ()

    with ThreadPoolExecutor(1) as other:
        assert other.submit(mailbox.ask, arm).result() == ("the guard did not answer within 0.01 s",)
    mailbox.work()
    assert armed == []


def test_what_fails_fails_for_both() -> None:
    mailbox = Mailbox()

    def breaks() -> tuple[str, ...]:
        raise ValueError("no such transition")

    with ThreadPoolExecutor(1) as other:
        answer, raised = other.submit(mailbox.ask, breaks), 0
        give_up = time.monotonic() + PATIENCE_S
        while not answer.done() and time.monotonic() < give_up:
            try:
                mailbox.work()
            except ValueError:
                raised += 1
        assert raised == 1
        with pytest.raises(ValueError, match="no such transition"):
            answer.result(0)


class Failing:
    """A session whose callbacks fail until they are mended."""

    def __init__(self) -> None:
        self.broken, self.spins = True, 0

    def spin_once(self, _: float) -> None:
        self.spins += 1
        if self.broken:
            raise ValueError("a message that nobody expected")
        time.sleep(0.001)

    def wake(self) -> None:
        pass


def test_a_failing_callback_does_not_make_the_node_deaf(caplog: pytest.LogCaptureFixture) -> None:
    session = Failing()
    spinning = Spinner(cast(RosSession, cast(Any, session)))
    give_up = time.monotonic() + PATIENCE_S
    while session.spins < 3:
        assert time.monotonic() < give_up
        time.sleep(0.001)
    session.broken = False
    heard = threading.Event()
    spinning.change(heard.set)
    assert heard.wait(PATIENCE_S)
    spinning.close()
    assert "a message that nobody expected" in caplog.text
