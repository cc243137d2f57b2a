"""The roof: how it is counted, on a scripted clock, and that both products are what they say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from jetvla.engines.layers import roof
from jetvla.runtime.backends import Engine, EngineOptions, load_backend
from jetvla.runtime.engine_key import Machine
from jetvla.runtime.manifest import GraphSpec


class Scripted:
    """A backend whose products take 2 ms in float and 0.5 ms on integers at best."""

    name, runs_onnx = "scripted", True

    def __init__(self) -> None:
        self.now_ns = 0
        self.opened: list[tuple[str, int | None]] = []
        self.order: list[str] = []

    def version(self) -> str:
        return "1"

    def machine(self) -> Machine:
        return Machine.here()

    def open(self, path: Path, graph: GraphSpec, options: EngineOptions) -> Engine:
        self.opened.append((path.stem, options.threads))
        backend, kind = self, path.stem

        class Product(Engine):
            def _run(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
                backend.order.append(kind)
                # The first runs are the fastest here, and must not count.
                slow = 0.1 if len(backend.order) <= 2 * roof._WARM_UP else 1 + len(backend.order) % 7
                backend.now_ns += int(slow * (2e6 if kind == "float" else 5e5))
                return {}

        return Product(graph)


def test_the_fastest_product_of_each_kind_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Scripted()
    monkeypatch.setattr(roof.time, "perf_counter_ns", lambda: backend.now_ns)
    measured = roof.measure_roof(backend, 3, tmp_path)
    assert backend.opened == [("float", 3), ("int8", 3)]
    assert backend.order[:4] == ["float", "int8"] * 2
    assert measured.floats == pytest.approx(2 * 1024**3 / 2e6)
    assert measured.integers == pytest.approx(2 * 1024**3 / 5e5)


def test_both_products_run_as_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roof, "_SIZE", 64)
    monkeypatch.setattr(roof, "_ROUNDS", 2)
    measured = roof.measure_roof(load_backend("onnxruntime"), 1, tmp_path)
    assert min(measured) > 0
    product = onnx.load(tmp_path / "int8.onnx").graph
    types = {tensor.name: tensor.data_type for tensor in product.initializer}
    assert product.node[0].op_type == "MatMulIntegerToFloat"
    assert product.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert types["w"] == onnx.TensorProto.INT8


def test_the_integer_product_computes_a_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roof, "_SIZE", 8)
    model = roof._integer_product(np.random.default_rng(0))
    onnx.save(model, tmp_path / "int8.onnx")
    engine = load_backend("onnxruntime").open(
        tmp_path / "int8.onnx", roof.graph_spec(model, "int8.onnx"), EngineOptions(threads=1)
    )
    x = np.random.default_rng(1).integers(0, 256, (8, 8)).astype(np.uint8)
    weight = onnx.numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == "w"))
    expected = (x.astype(np.float32) - 128) @ weight.astype(np.float32) * 1e-4
    np.testing.assert_allclose(engine.infer({"x": x})["y"], expected, rtol=1e-5, atol=1e-6)
