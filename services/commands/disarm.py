"""Bring the robot to a controlled stop; from then on no command reaches it."""

from __future__ import annotations

import argparse

from jetvla.services.operator import OperatorConsole, add_config_option, add_timeout_option


def configure(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)
    add_timeout_option(parser)


def run(arguments: argparse.Namespace) -> int:
    with OperatorConsole.of(arguments.config) as console:
        print(console.call("disarm", arguments.timeout))
    return 0
