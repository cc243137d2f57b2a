"""Compare two profiles that 'jetvla profile --json' wrote, stage by stage.

The ratio after / before of each median and each p99 has an interval, by a bootstrap of blocks of at least a second that
is seeded and so repeats; all of them together hold with 99 %. A stage is slower or faster if its interval leaves out 1
and it moved by 5 % and by 0.05 ms at least; else no difference is seen. It needs ten blocks a run: measure for 30 s.
Of tokenize and language, which are read 24 times in a row after the run, a change counts from 25 % on; of a robot that
was only watched they are not judged, which is said.

The interval knows the scatter within the two runs, not that a machine is another one an hour later: measure in turn.

Profiles of other machines, other power modes or other ways of measuring are refused.

Exit status: 0 if no stage that was judged is slower, 3 if the median or the p99 of one is, 1 if the two cannot be
compared or judged: a stage of the former profile did not run any more, or there are too few samples of age, of step or
of all stages.
"""

from __future__ import annotations

import argparse
from pathlib import Path

STATUS = {"not slower": 0, "not judged": 1, "slower": 3}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", type=Path, help="the former profile, a JSON file")
    parser.add_argument("after", type=Path, help="the newer one")
    parser.add_argument("--force", action="store_true", help="compare whatever is in both, and say what differs")


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from jetvla.services.profiling.comparison import compare
    from jetvla.services.profiling.record import read_profile
    from jetvla.services.profiling.terminal import print_comparison

    before, after = read_profile(arguments.before), read_profile(arguments.after)
    comparison = compare(before, after, arguments.force)
    print_comparison(comparison, Console())
    return STATUS[comparison.outcome]
