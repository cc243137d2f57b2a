from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from threading import Thread

import pytest

from jetvla.services.termination import ends_cleanly

STOPS = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Signals that no test may leave changed."""
    former = [signal.getsignal(number) for number in STOPS]
    yield
    assert [signal.getsignal(number) for number in STOPS] == former


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_unwinds_the_block(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert capsys.readouterr().err == f"stopped by {number.name}\n"


def test_what_nohup_ignores_stays_ignored() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends_cleanly():
            os.kill(os.getpid(), signal.SIGHUP)
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
