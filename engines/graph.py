"""ONNX files: reading, writing, naming their nodes, and saying what goes in and out.

A node is named ``<block>/<OpType>_<n>``, such as ``ViT block 7 MLP/MatMul_31``; a node of no block ``/<OpType>_<n>``.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.runtime.bundle import digest_file
from jetvla.runtime.errors import EngineError
from jetvla.runtime.manifest import Dtype, GraphSpec, TensorSpec

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

# Weights above this many bytes go to FILE.data beside the graph.
WEIGHTS_IN_GRAPH = 16 << 20
# Shapes and axes, which shape inference reads, are below this many bytes.
_SMALL_WEIGHT = 1 << 10
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
        onnx.save_model(moved, path, save_as_external_data=True, location=_beside(path).name, size_threshold=1024)
        # ONNX makes that file for its owner alone, and whoever may read the graph needs it.
        _beside(path).chmod(path.stat().st_mode & 0o777)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.data")


def graph_sha256(path: Path) -> str:
    """Digest of a graph that :func:`save_graph` wrote, its weights beside it included."""
    beside = _beside(path)
    parts = [digest_file(file).sha256 for file in (path, beside) if file.is_file()]
    return parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()


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


def block_of(node: str) -> str:
    """The block in a node's name; empty if it is in none."""
    return node.rpartition("/")[0]


class NodeNames:
    """Gives new nodes of ``model`` names that no other node has."""

    def __init__(self, model: ModelProto) -> None:
        numbers = [re.search(r"_(\d+)$", node.name) for node in model.graph.node]
        self._next = max((int(found[1]) for found in numbers if found), default=-1) + 1

    def new(self, block: str, op_type: str) -> str:
        """A name in ``block``."""
        self._next += 1
        return f"{block}/{op_type}_{self._next - 1}"


def tensor_types(model: ModelProto) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Element type and static shape of every tensor whose rank can be inferred; a dimension that is not known is 0."""
    from onnx import helper, shape_inference

    # Inference copies the model, so large weights are left behind: their shapes are all that it needs.
    bare = _without_large_weights(model)
    known = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer]
    bare.graph.input.extend(value for value in known if value.name not in {t.name for t in bare.graph.initializer})
    graph = shape_inference.infer_shapes(bare, data_prop=True).graph
    values = (*known, *graph.value_info, *graph.input, *graph.output)
    tensors = {value.name: value.type.tensor_type for value in values if value.type.tensor_type.HasField("shape")}
    return {name: (t.elem_type, tuple(int(d.dim_value) for d in t.shape.dim)) for name, t in tensors.items()}


def _without_large_weights(model: ModelProto) -> ModelProto:
    from onnx import helper

    graph = model.graph
    small = [tensor for tensor in graph.initializer if len(tensor.raw_data) <= _SMALL_WEIGHT]
    copy = helper.make_graph(graph.node, graph.name, graph.input, graph.output, small)
    return helper.make_model(copy, opset_imports=model.opset_import, ir_version=model.ir_version)


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
