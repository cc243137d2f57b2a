"""A fake TensorRT whose engines compute what ONNX Runtime does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jetvla.runtime.backends.fake_tensorrt import PLAN, FakeTensorRt, installed, run_onnx
from jetvla.runtime.manifest import GraphSpec, TensorSpec
from jetvla.runtime.memory.fake import FakeMemory

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def language() -> GraphSpec:
    """The interface of tests/data/language.onnx."""
    return GraphSpec(
        file="language.onnx",
        inputs={n: TensorSpec(dtype="int64", shape=(1, 6)) for n in ("input_ids", "attention_mask")},
        outputs={
            "text_features": TensorSpec(dtype="float32", shape=(1, 6, 1)),
            "text_mask": TensorSpec(dtype="float32", shape=(1, 6)),
        },
    )


@pytest.fixture
def trt(language: GraphSpec) -> Iterator[FakeTensorRt]:
    """In the place of the real library."""
    with installed(FakeTensorRt({"language.onnx": language}, run_onnx, FakeMemory())) as fake:
        yield fake


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan of tests/data/language.onnx."""
    path = tmp_path / "language.plan"
    path.write_bytes(PLAN + bytes(DATA / "language.onnx"))
    return path
