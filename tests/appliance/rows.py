"""The table of what was played, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Row:
    """One thing that was done to the appliance.

    Attributes:
        what: for people.
        outcome: what happened; or "not run: why".
        seconds: measured times, by what ended.
    """

    what: str
    outcome: str = "FAILED"
    seconds: dict[str, float] = field(default_factory=dict)


ROWS: list[Row] = []


def table() -> Iterator[str]:
    for row in ROWS:
        times = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in row.seconds.items())
        yield f"{row.what:44} {row.outcome}{times and ': '}{times}"


def write(path: Path, machine: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in ROWS]}, indent=1) + "\n")
