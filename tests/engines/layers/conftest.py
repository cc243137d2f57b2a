"""Graphs that are run and profiled."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import ModelProto

sys.path.insert(0, str(Path(__file__).parent))

from profiled_graph import Profiled


@pytest.fixture
def profiled(tmp_path: Path) -> Callable[[ModelProto], Profiled]:
    return lambda model: Profiled(model, tmp_path)
