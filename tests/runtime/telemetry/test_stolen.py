"""Time that a host took."""

from __future__ import annotations

import os
from pathlib import Path

from jetvla.runtime.telemetry.stolen import stolen_s


def test_the_steal_column_in_seconds(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    ticks = os.sysconf("SC_CLK_TCK")
    stat.write_text(f"cpu  1 2 3 4 5 6 7 {ticks * 3} 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    assert stolen_s(stat) == 3.0


def test_a_kernel_that_does_not_tell(tmp_path: Path) -> None:
    assert stolen_s(tmp_path / "stat") == 0.0
    (tmp_path / "stat").write_text("cpu 1 2 3 4\n")
    assert stolen_s(tmp_path / "stat") == 0.0


def test_this_machine_tells_something() -> None:
    assert 0.0 <= stolen_s() <= stolen_s()
