"""Let the robot move: from now on commands reach it. The guard refuses, with its reasons, until that is safe."""

from __future__ import annotations

import argparse

from jetvla.services.operator import OperatorConsole, add_guard_options


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="go on asking for S seconds while the guard refuses to arm"
    )
    add_guard_options(parser)


def run(arguments: argparse.Namespace) -> int:
    with OperatorConsole.of(arguments.config) as console:
        print(console.arm(arguments.wait, arguments.timeout))
    return 0
