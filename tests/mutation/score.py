"""The score of the mutation run: ``mutmut results --all true | python score.py docs/MUTATION.md``.

Exit status 1 where it is below 95 %, where a change was not tried, or where docs/MUTATION.md does not explain just
those changes that nobody noticed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

LEAST = 0.95
NOTICED = ("killed", "timeout")
_RESULT = re.compile(r"jetvla\.runtime\.guard\.(\w+)\.x(?:ǁ(\w+)ǁ|_)(\w+?)__mutmut_(\d+): (.+)")
# `module.Class.function` 3, 14
_EXPLAINED = re.compile(r"`([\w.]+)` (\d+(?:, \d+)*)")


def results(lines: Iterable[str]) -> dict[str, str]:
    """What became of each change, by ``module.Class.function number``; ValueError if a line is none of mutmut's."""
    found = {}
    for line in filter(None, map(str.strip, lines)):
        match = _RESULT.fullmatch(line)
        if match is None:
            raise ValueError(f"not a result of mutmut: {line}")
        module, owner, function, number, outcome = match.groups()
        found[f"{'.'.join(filter(None, (module, owner, function)))} {number}"] = outcome
    return found


def explained(text: str) -> set[str]:
    """The changes that ``text`` names."""
    return {f"{name} {number}" for name, numbers in _EXPLAINED.findall(text) for number in numbers.split(", ")}


def mistakes(outcomes: dict[str, str], text: str) -> list[str]:
    """What is wrong with the run, or with its explanation."""
    found = [f"not tried: {name} ({o})" for name, o in outcomes.items() if o not in (*NOTICED, "survived")]
    survived = {name for name, outcome in outcomes.items() if outcome == "survived"}
    found += [f"not explained: {name}" for name in sorted(survived - explained(text))]
    found += [f"explained, and noticed or gone: {name}" for name in sorted(explained(text) - survived)]
    if (reached := score(outcomes)) < LEAST:
        found.append(f"{reached:.1%} is below {LEAST:.0%}")
    return found


def score(outcomes: dict[str, str]) -> float:
    """The share of changes that were noticed; 0 without any."""
    return sum(outcome in NOTICED for outcome in outcomes.values()) / max(1, len(outcomes))


def main(document: Path) -> int:
    outcomes = results(sys.stdin)
    wrong = mistakes(outcomes, document.read_text(encoding="utf-8"))
    print(*wrong, sep="\n")
    noticed = sum(outcome in NOTICED for outcome in outcomes.values())
    print(f"{noticed} of {len(outcomes)} changes were noticed: {score(outcomes):.1%}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
