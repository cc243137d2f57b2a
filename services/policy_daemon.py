"""The policy as a process: ``python -m jetvla.services.policy_daemon --config FILE``.

It waits for the guard, the cameras and an instruction, each as long as it takes, and ends on SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.keys import load_trusted
from jetvla.services.policy_process import PolicyProcess

log = logging.getLogger("jetvla.policy")


def main(argv: Sequence[str] | None = None) -> int:
    """0 when asked to end, 1 on a user's error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="policy: %(message)s", stream=sys.stderr)
    faulthandler.enable()
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    try:
        act(arguments.config, asked)
    except JetvlaError as error:
        log.error("%s", error)
        return 1
    return 0


def act(config_path: Path, asked: threading.Event) -> None:
    """Run the policy until ``asked``."""
    config = load_config(config_path)
    bundle = Bundle.open(config.bundle, load_trusted(config.trusted))
    with PolicyProcess(config, bundle) as process:
        # What is there now stays; a collection would go through it in vain.
        gc.collect()
        gc.freeze()
        process.run(asked)


if __name__ == "__main__":
    sys.exit(main())
