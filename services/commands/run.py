"""Run policy and guard in the foreground, and what serves their metrics. Ctrl-C brings the robot to a controlled stop
first.

The robot does not move before 'jetvla arm'.
"""

from __future__ import annotations

import argparse

from jetvla.services.operator import add_config_option
from jetvla.services.supervisor import supervise


def configure(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)


def run(arguments: argparse.Namespace) -> int:
    supervise(arguments.config)
    return 0
