"""The policy as a process: ``python -m jetvla.services.policy_daemon --config FILE``.

It waits for the guard, the cameras and an instruction, each as long as it takes, and ends on SIGTERM or SIGINT.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.policy.state import Proprioception
from jetvla.runtime.policy.turn_spans import TurnSpans
from jetvla.services.daemon import Service, keep_for_good, run_daemon
from jetvla.services.instance import single_instance
from jetvla.services.policy_process import PolicyProcess
from jetvla.services.spans import open_spans


def main(argv: Sequence[str] | None = None) -> int:
    """0 when asked to end, 1 on a user's error."""
    return run_daemon("policy", __doc__, act, argv)


def act(service: Service, joints: Proprioception | None = None) -> None:
    """Run the policy until ``service.asked``; ``joints`` None takes the configured state."""
    with (
        single_instance(service.config, "policy"),
        open_spans(service.config.spans("policy"), MonotonicClock()) as spans,
    ):
        with service.asked.at_once():
            process = PolicyProcess(
                service.config,
                service.bundle,
                service.notifier,
                service.reloader.take,
                observers=(TurnSpans(spans),),
                joints=joints,
            )
        with process:
            keep_for_good()
            process.run(service.asked)


if __name__ == "__main__":
    sys.exit(main())
