"""ONNX files: reading, writing, and saying what goes in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.runtime.errors import EngineError
from jetvla.runtime.manifest import Dtype, GraphSpec, TensorSpec

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

# Weights above this many bytes go to FILE.data beside the graph.
WEIGHTS_IN_GRAPH = 16 << 20
_DTYPES: dict[int, Dtype] = {1: "float32", 2: "uint8", 7: "int64", 9: "bool", 10: "float16"}


def write_graph(model: ModelProto, path: Path) -> GraphSpec:
    """Write ``model`` to ``path``, checked, with large weights beside it; returns its interface."""
    import onnx

    save_graph(model, path)
    onnx.checker.check_model(path, full_check=True)
    return graph_spec(model, path.name)


def save_graph(model: ModelProto, path: Path) -> None:
    """Write ``model`` to ``path`` as it is, with large weights beside it."""
    import onnx

    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights <= WEIGHTS_IN_GRAPH:
        onnx.save_model(model, path)
    else:
        # The copy keeps the caller's weights in memory: saving moves them out of the model.
        moved = type(model)()
        moved.CopyFrom(model)
        onnx.save_model(moved, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024)


def graph_spec(model: ModelProto, file: str) -> GraphSpec:
    """Names, types and static shapes; EngineError if a shape is not static."""
    return GraphSpec(
        file=file,
        inputs={value.name: _tensor_spec(value, file) for value in model.graph.input},
        outputs={value.name: _tensor_spec(value, file) for value in model.graph.output},
    )


def _tensor_spec(value: ValueInfoProto, file: str) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(int(dim.dim_value) for dim in tensor.shape.dim)
    if 0 in shape or tensor.elem_type not in _DTYPES:
        raise EngineError(f"{file}: {value.name} has no static shape or an unknown type; export it again")
    return TensorSpec(dtype=_DTYPES[tensor.elem_type], shape=shape)


def sort_nodes(graph: GraphProto) -> None:
    """Put nodes in topological order, in place; ONNX requires it."""
    waiting = list(graph.node)
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    ordered = []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ValueError(f"graph {graph.name} has a cycle or a dangling input")
        ordered += ready
        known.update(name for node in ready for name in node.output)
        chosen = {id(node) for node in ready}
        waiting = [node for node in waiting if id(node) not in chosen]
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)
