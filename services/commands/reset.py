"""Leave LATCHED after a fault that latches, once its cause is gone. Does not arm."""

from __future__ import annotations

import argparse

from jetvla.services.operator import OperatorConsole, add_config_option, add_timeout_option


def configure(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)
    add_timeout_option(parser)


def run(arguments: argparse.Namespace) -> int:
    with OperatorConsole.of(arguments.config) as console:
        print(console.call("reset", arguments.timeout))
    return 0
