"""Load and clocks of the processor's cores."""

from __future__ import annotations

import re
from pathlib import Path

from jetvla.runtime.telemetry.attribute import number, text
from jetvla.runtime.telemetry.power.reading import Activity

_CORE = re.compile(r"^cpu(\d+)((?: \d+)+)", re.MULTILINE | re.ASCII)
# Columns of /proc/stat, proc(5): idle and iowait; guest time is part of user time.
_IDLE, _COUNTED = slice(3, 5), 8


class Cores:
    """Load since the reading before; the first reading has clocks alone."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._before: dict[int, tuple[int, int]] = {}

    def read(self) -> tuple[Activity, ...]:
        """Of the cores that are switched on, by number."""
        ticks = {int(core[1]): _ticks(core[2]) for core in _CORE.finditer(text(self._root / "proc/stat") or "")}
        found = tuple(Activity(self._load(core, *now), self._mhz(core)) for core, now in sorted(ticks.items()))
        self._before = ticks
        return found

    def _load(self, core: int, idle: int, all_: int) -> float | None:
        idle_before, all_before = self._before.get(core, (idle, all_))
        passed = all_ - all_before
        return None if passed <= 0 else min(100.0, max(0.0, 100 * (1 - (idle - idle_before) / passed)))

    def _mhz(self, core: int) -> tuple[float, ...]:
        khz = number(self._root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
        return () if khz is None else (khz / 1000,)


def _ticks(columns: str) -> tuple[int, int]:
    """Idle ticks and all ticks since the start."""
    ticks = [int(column) for column in columns.split()[:_COUNTED]]
    return sum(ticks[_IDLE]), sum(ticks)
