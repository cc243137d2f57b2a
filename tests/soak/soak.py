"""Random ticks by the million, under an independent judge: ``make soak``, or ``soak.py --ticks 1000000 --seed 0``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import numpy as np
from soak_episode import SETUPS, Episode
from soak_judge import violations

EPISODE_TICKS = 2000
REPORT_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--first", type=int, default=0, help="episode to begin or go on with; default: %(default)s")
    arguments = parser.parse_args()
    soak = Soak(arguments.seed, arguments.first)
    try:
        while soak.ticks < arguments.ticks:
            soak.play(min(EPISODE_TICKS, arguments.ticks - soak.ticks))
    except KeyboardInterrupt:
        print(f"interrupted; go on with --seed {soak.seed} --first {soak.episode}", file=sys.stderr)
    print(f"faults found by the guard: {dict(soak.faults.most_common())}")
    print(f"{soak.published} ticks published a command, {soak.moving} of them motion; armed {soak.armed} times")
    print(f"{soak.ticks} ticks, {soak.violations} violations")
    return 1 if soak.violations else 0


class Soak:
    """Episodes one after the other; each depends on the seed and its own number alone."""

    def __init__(self, seed: int, first: int) -> None:
        self.seed, self.episode = seed, first
        self.ticks = self.published = self.moving = self.armed = self.violations = 0
        self.faults: Counter[str] = Counter()
        self._began = self._reported = time.perf_counter()

    def play(self, ticks: int) -> None:
        name = list(SETUPS)[self.episode % len(SETUPS)]
        episode = Episode(name, np.random.default_rng([self.seed, self.episode]))
        episode.play(ticks)
        for found in violations(episode.tape):
            self.violations += 1
            print(f"VIOLATION {name}, --seed {self.seed} --first {self.episode} --ticks {ticks}: {found}", flush=True)
        self.episode += 1
        self.ticks += ticks
        self.published += sum(v is not None for v in episode.tape.values)
        self.moving += episode.moving
        self.armed += len(episode.tape.armed)
        self.faults += episode.faults
        self._report()

    def _report(self) -> None:
        now = time.perf_counter()
        if now - self._reported < REPORT_S:
            return
        self._reported = now
        rate = self.ticks / (now - self._began)
        print(f"episode {self.episode}: {self.ticks} ticks, {rate:.0f}/s, {self.violations} violations", flush=True)


if __name__ == "__main__":
    sys.exit(main())
