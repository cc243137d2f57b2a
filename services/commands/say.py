"""Give the robot an instruction: jetvla say "pick up the red block". It never arms the robot."""

from __future__ import annotations

import argparse

from jetvla.services.operator import OperatorConsole, add_guard_options


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help="the sentence; a stop word brings the robot to a controlled stop")
    add_guard_options(parser)


def run(arguments: argparse.Namespace) -> int:
    with OperatorConsole.of(arguments.config) as console:
        listeners = console.say(arguments.text, arguments.timeout)
        console.delivered(arguments.timeout)
    print(f"said to {listeners} listeners: {arguments.text}")
    return 0
