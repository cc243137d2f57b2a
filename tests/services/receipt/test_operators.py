"""Operators are counted as the library ``onnx`` counts them, and damage is seen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from jetvla.runtime.errors import BundleError
from jetvla.services.receipt.operators import count_operators

GRAPHS = ["language.fp32.onnx", "step.fp32.onnx", "step.int8-fp32.onnx"]


@pytest.mark.build
@pytest.mark.parametrize("name", GRAPHS)
def test_counts_are_those_of_the_onnx_library(tiny_bundle: Path, name: str) -> None:
    onnx = pytest.importorskip("onnx")
    expected = Counter(node.op_type for node in onnx.load(tiny_bundle / name).graph.node)
    assert count_operators(tiny_bundle / name) == expected
    assert expected["MatMul"] > 10


@pytest.mark.parametrize("kept", [0, 1, 5, 1000, -1])
def test_a_truncated_model_is_refused(tiny_bundle: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "step.onnx"
    path.write_bytes((tiny_bundle / "step.fp32.onnx").read_bytes()[:kept])
    with pytest.raises(BundleError, match=r"step\.onnx is not an ONNX model"):
        count_operators(path)


@pytest.mark.parametrize("content", [b"\xff" * 64, b"\x3b\x00", b"\x3a\x05\x0a\x03\x22\x01\xff", b"\x08\x80"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "step.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="is not an ONNX model"):
        count_operators(path)
