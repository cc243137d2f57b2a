"""ONNX Runtime keeps an identifier of the machine and its reports in the cache of the user; not when jetvla runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

OPENS = """
import sys
from jetvla.runtime.backends import load_backend
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1])
"""


def test_nothing_is_reported(tiny_bundle: Path, tmp_path: Path) -> None:
    graph = next(tiny_bundle.glob("*.onnx"))
    # What tells the library that it is tested, and so keeps it silent anyway, is left out.
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    subprocess.run([sys.executable, "-c", OPENS, str(graph)], check=True, env=environment)
    assert list(tmp_path.rglob("*")) == []
