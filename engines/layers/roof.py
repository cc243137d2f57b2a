"""How fast this machine multiplies matrices at best, measured there and then."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.graph import graph_spec
from jetvla.runtime.backends import Backend, Engine, EngineOptions

if TYPE_CHECKING:
    from onnx import ModelProto

# A product of two square matrices: large enough that nothing but multiplying takes time, small enough for the cache.
_SIZE = 1024
_ROUNDS = 30
_WARM_UP = 3


class Roof(NamedTuple):
    """Operations (a multiplication and an addition are two) per nanosecond, which is G per second: of float32, and of
    8-bit integers, unsigned by signed."""

    floats: float
    integers: float


def measure_roof(backend: Backend, threads: int | None, folder: Path) -> Roof:
    """The fastest of some products of each kind, in turns, by ``backend`` on so many threads, as a step would run them.

    Args:
        backend: one that runs ONNX.
        threads: None leaves one core free.
        folder: for the graphs.
    """
    import onnx

    rng = np.random.default_rng(0)
    engines: list[tuple[Engine, dict[str, NDArray[Any]]]] = []
    for name, model, dtype in (("float", _float_product(rng), np.float32), ("int8", _integer_product(rng), np.uint8)):
        path = folder / f"{name}.onnx"
        onnx.save(model, path)
        engine = backend.open(path, graph_spec(model, path.name), EngineOptions(threads=threads))
        engines.append((engine, {"x": rng.integers(0, 256, (_SIZE, _SIZE)).astype(dtype)}))
    best = [float("inf"), float("inf")]
    for turn in range(_WARM_UP + _ROUNDS):
        for kind, (engine, inputs) in enumerate(engines):
            began = time.perf_counter_ns()
            engine.infer(inputs)
            if turn >= _WARM_UP:
                best[kind] = min(best[kind], time.perf_counter_ns() - began)
    floats, integers = (2 * _SIZE**3 / ns for ns in best)
    return Roof(floats, integers)


def _float_product(rng: np.random.Generator) -> ModelProto:
    from onnx import TensorProto, helper

    weight = rng.normal(size=(_SIZE, _SIZE)).astype(np.float32)
    return _model(helper.make_node("MatMul", ["x", "w"], ["y"]), TensorProto.FLOAT, {"w": weight})


def _integer_product(rng: np.random.Generator) -> ModelProto:
    """As the graphs that are rewritten for a CPU multiply: see :mod:`jetvla.engines.cpu.integers`."""
    from onnx import TensorProto, helper

    constants: dict[str, NDArray[Any]] = {
        "w": rng.integers(-64, 65, (_SIZE, _SIZE)).astype(np.int8),
        "x_scale": np.array(0.01, np.float32),
        "w_scale": np.full(_SIZE, 0.01, np.float32),
        "x_zero": np.array(128, np.uint8),
    }
    inputs = ["x", "w", "x_scale", "w_scale", "x_zero"]
    node = helper.make_node("MatMulIntegerToFloat", inputs, ["y"], domain="com.microsoft")
    return _model(node, TensorProto.UINT8, constants)


def _model(node: Any, kind: int, constants: dict[str, NDArray[Any]]) -> ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [node],
        "roof",
        [helper.make_tensor_value_info("x", kind, [_SIZE, _SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [_SIZE, _SIZE])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)
