"""What computes beside a process ends with it."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from jetvla.runtime.workers import workers

PATIENCE_S = 60.0


def test_work_is_done_in_other_processes() -> None:
    with workers(2) as processes:
        assert processes.submit(os.getpid).result() != os.getpid()


def test_who_is_told_to_end_does_not_wait_for_work_that_takes_long() -> None:
    given: list[Future[None]] = []

    def work() -> None:
        with workers(1) as processes:
            given.append(processes.submit(time.sleep, 3600))
            give_up = time.monotonic() + PATIENCE_S
            while not given[0].running():
                assert time.monotonic() < give_up
                time.sleep(0.01)
            raise SystemExit

    with pytest.raises(SystemExit):
        work()
    assert isinstance(given[0].exception(), BrokenProcessPool)
