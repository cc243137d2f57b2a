"""Let the robot move. The guard refuses, with its reasons, until it is safe to.

jetvla arm             arm: from now on commands reach the robot
jetvla arm --disarm    controlled stop, then disarmed
jetvla arm --reset     leave LATCHED after a fault that latches; does not arm
"""

from __future__ import annotations

import argparse

from jetvla.services.operator import OperatorConsole, add_config_option, add_timeout_option


def configure(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--disarm", dest="service", action="store_const", const="disarm", help="stop the robot")
    what.add_argument("--reset", dest="service", action="store_const", const="reset", help="clear a latched fault")
    parser.set_defaults(service="arm")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="go on asking for S seconds while the guard refuses to arm"
    )
    add_config_option(parser)
    add_timeout_option(parser)


def run(arguments: argparse.Namespace) -> int:
    with OperatorConsole.of(arguments.config) as console:
        if arguments.service == "arm":
            print(console.arm(arguments.wait, arguments.timeout))
        else:
            print(console.call(arguments.service, arguments.timeout))
    return 0
