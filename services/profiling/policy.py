"""The policy daemon on a robot that is not there: the state of its first golden sample, for ever.

``python -m jetvla.services.profiling.policy --config FILE``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.bundle import Bundle
from jetvla.services.daemon import Service, run_daemon
from jetvla.services.policy_daemon import act


class GoldenState:
    """A state that the policy may meet, and that a robot at rest would have."""

    def __init__(self, bundle: Bundle) -> None:
        with np.load(bundle.file(bundle.manifest.golden.file)) as samples:
            self._state: NDArray[np.float32] = samples["state"][0].astype(np.float32)

    def feel(self) -> NDArray[np.float32]:
        """float32 [S] in the manifest's order."""
        return np.array(self._state)


def main(argv: Sequence[str] | None = None) -> int:
    """0 when asked to end, 1 on a user's error."""
    return run_daemon("policy", __doc__, measure, argv)


def measure(service: Service) -> None:
    """Run the policy until ``service.asked``."""
    act(service, GoldenState(service.bundle) if service.bundle.manifest.state else None)


if __name__ == "__main__":
    sys.exit(main())
