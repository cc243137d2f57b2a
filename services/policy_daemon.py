"""The policy as a process: ``python -m jetvla.services.policy_daemon --config FILE``.

It waits for the guard, the cameras and an instruction, each as long as it takes, and ends on SIGTERM or SIGINT.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.config import Config
from jetvla.runtime.policy.turn_spans import TurnSpans
from jetvla.services.daemon import keep_for_good, run_daemon
from jetvla.services.policy_process import PolicyProcess
from jetvla.services.spans import open_spans


def main(argv: Sequence[str] | None = None) -> int:
    """0 when asked to end, 1 on a user's error."""
    return run_daemon("policy", __doc__, act, argv)


def act(config: Config, bundle: Bundle, asked: threading.Event) -> None:
    """Run the policy until ``asked``."""
    with (
        open_spans(config.spans("policy"), MonotonicClock()) as spans,
        PolicyProcess(config, bundle, observers=(TurnSpans(spans),)) as process,
    ):
        keep_for_good()
        process.run(asked)


if __name__ == "__main__":
    sys.exit(main())
