"""The whole path on the simulated table robot, through real ROS 2.

Builds a bundle from the small trained checkpoint with its step graph in INT8, starts guard and policy, arms the
robot and speaks instructions. Layouts are ones that training never saw. A control run with permuted instructions,
which must score near chance, comes first. Exit status 0 when at least 80 % of the blocks were reached.
"""

from __future__ import annotations

import argparse
from pathlib import Path

PASS_SHARE = 0.8


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", type=Path, default=Path("jetvla-demo"), help="where to put everything")
    parser.add_argument("--episodes", type=int, default=20, help="layouts to try (default: %(default)s)")
    parser.add_argument("--checkpoint", type=Path, help="policy to run (default: the one that comes with jetvla)")


def run(arguments: argparse.Namespace) -> int:
    from jetvla.services.demonstration.report import last_line, stops_line, write_picture
    from jetvla.services.demonstration.setting import prepare
    from jetvla.services.demonstration.trial import run_trials

    setting = prepare(arguments.workdir, arguments.checkpoint)
    outcome = run_trials(setting, arguments.episodes)
    picture = write_picture(outcome, arguments.workdir)
    if stops := stops_line(outcome, setting.log):
        print(stops)
    print(f"picture: {picture}")
    print(last_line(outcome))
    return 0 if outcome.reached >= PASS_SHARE * len(outcome.trials) else 1
