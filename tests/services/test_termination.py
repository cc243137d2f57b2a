from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from threading import Thread, Timer

import pytest

from jetvla.services.termination import EndRequest, asked_to_end, ends_cleanly

STOPS = (signal.SIGTERM, signal.SIGHUP)
# Signals at every moment of a wait, first of all in those in which a lock is held.
ASK_AT_ANY_MOMENT = """
import signal
from jetvla.services.termination import EndRequest

for round in range(20_000):
    asked = EndRequest()
    signal.signal(signal.SIGALRM, asked.ask)
    signal.setitimer(signal.ITIMER_REAL, (1 + round % 60) * 1e-6)
    while not asked.wait(1e-5):
        pass
"""


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Signals that no test may leave changed."""
    former = [signal.getsignal(number) for number in STOPS]
    yield
    assert [signal.getsignal(number) for number in STOPS] == former


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_unwinds_the_block(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    unwound = []

    def work() -> None:
        with ends_cleanly():
            try:
                os.kill(os.getpid(), number)
            finally:
                # Whoever is impatient does not keep it from cleaning up.
                os.kill(os.getpid(), signal.SIGTERM)
                unwound.append(number)

    with pytest.raises(SystemExit) as caught:
        work()
    assert caught.value.code == 128 + number
    assert unwound == [number]
    assert capfd.readouterr().err == f"stopped by {number.name}\n"


def test_what_nohup_ignores_stays_ignored() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends_cleanly():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, former)


def test_what_nohup_ignores_asks_nobody() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked_to_end() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not asked.wait(0.01)
    finally:
        signal.signal(signal.SIGHUP, former)


def test_another_thread_leaves_signals_alone() -> None:
    seen = []

    def work() -> None:
        with ends_cleanly():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_a_signal_in_the_middle_of_a_wait_ends_it() -> None:
    subprocess.run([sys.executable, "-c", ASK_AT_ANY_MOMENT], check=True, timeout=120)


def test_who_waits_without_end_is_woken() -> None:
    asked = EndRequest()
    Timer(0.05, asked.set).start()
    assert asked.wait()
    assert asked.wait()


def test_nobody_asked() -> None:
    with asked_to_end() as asked:
        assert not asked.wait(0.01)
        assert not asked.is_set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks(number: signal.Signals) -> None:
    with asked_to_end() as asked:
        os.kill(os.getpid(), number)
        assert asked.wait()
        # It may come again, even while the first is handled.
        os.kill(os.getpid(), number)
    assert asked.is_set()


def test_a_start_ends_at_once() -> None:
    began = []

    def start(asked: EndRequest) -> None:
        with asked.at_once():
            began.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("it went on")

    with asked_to_end() as asked:
        for _ in range(2):
            with pytest.raises(SystemExit) as caught:
                start(asked)
            assert caught.value.code == 0
        os.kill(os.getpid(), signal.SIGTERM)
    assert began == [True]
