"""The patch embedding of a ViT as a product of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jetvla.engines.graph import NodeNames, block_of, sort_nodes, tensor_types
from jetvla.engines.passes import replace_nodes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


class _Patches(NamedTuple):
    """A Conv whose patches do not overlap, and the Reshape and Transpose that make rows of its output."""

    conv: NodeProto
    flat: NodeProto
    rows: NodeProto


def patches_as_products(model: ModelProto) -> None:
    """Make a Reshape, a Transpose and a MatMul of every patch embedding, in place.

    The sums are the same, of the same products: every pixel is in exactly one patch. ONNX Runtime has no INT8 Conv
    with float output, so that the Conv would run in float behind its Q/DQ pairs, and it has such a MatMul.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    shapes = {name: shape for name, (_, shape) in tensor_types(model).items()}
    for patches in _find(model, weights):
        weight, shape = weights[patches.conv.input[1]], shapes[patches.conv.input[0]]
        if shape[2] % weight.dims[2] or shape[3] % weight.dims[3]:
            continue  # the Conv leaves pixels at the edge unread, which no Reshape can
        gone = {node.name for node in patches}
        kept = [node for node in model.graph.node if node.name not in gone]
        replace_nodes(model, [*kept, *_product(model, patches, weight, shape)])
    sort_nodes(model.graph)


def _find(model: ModelProto, weights: dict[str, TensorProto]) -> list[_Patches]:
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for conv in model.graph.node:
        if conv.op_type == "Conv" and conv.input[1] in weights and _is_patchwise(conv, weights[conv.input[1]]):
            flat = _only(readers, conv, "Reshape")
            rows = None if flat is None else _only(readers, flat, "Transpose")
            if flat is not None and rows is not None and list(rows.attribute[0].ints) == [0, 2, 1]:
                found.append(_Patches(conv, flat, rows))
    return found


def _only(readers: dict[str, list[NodeProto]], node: NodeProto, kind: str) -> NodeProto | None:
    """The only reader of ``node``, if it is of ``kind``."""
    found = readers.get(node.output[0], [])
    return found[0] if len(found) == 1 and found[0].op_type == kind else None


def _is_patchwise(conv: NodeProto, weight: TensorProto) -> bool:
    ints = {a.name: list(a.ints) for a in conv.attribute}
    group = next((a.i for a in conv.attribute if a.name == "group"), 1)
    padding = next((a.s for a in conv.attribute if a.name == "auto_pad"), b"NOTSET")
    whole = not any(ints.get("pads", [])) and padding in (b"NOTSET", b"VALID")
    dense = group == 1 and set(ints.get("dilations", [1])) == {1}
    return len(weight.dims) == 4 and ints.get("strides") == list(weight.dims[2:]) and whole and dense


def _product(model: ModelProto, patches: _Patches, weight: TensorProto, shape: tuple[int, ...]) -> list[NodeProto]:
    from onnx import helper, numpy_helper

    (batch, channels, height, width), (outputs, _, tall, wide) = shape, weight.dims
    rows, columns = height // tall, width // wide
    conv, result, name = patches.conv, patches.rows.output[0], patches.conv.output[0]
    constants = {
        f"{name}__grid": np.array([batch, channels, rows, tall, columns, wide], np.int64),
        f"{name}__rows": np.array([batch, rows * columns, channels * tall * wide], np.int64),
        f"{name}__weight": np.ascontiguousarray(numpy_helper.to_array(weight).reshape(outputs, -1).T),
    }
    model.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in constants.items())
    names, block = NodeNames(model), block_of(conv.name)

    def node(kind: str, inputs: list[str], output: str, **attributes: list[int]) -> NodeProto:
        return helper.make_node(kind, inputs, [output], name=names.new(block, kind), **attributes)

    biased = len(conv.input) == 3
    made = [
        node("Reshape", [conv.input[0], f"{name}__grid"], f"{name}__cut"),
        node("Transpose", [f"{name}__cut"], f"{name}__sorted", perm=[0, 2, 4, 1, 3, 5]),
        node("Reshape", [f"{name}__sorted", f"{name}__rows"], f"{name}__patches"),
        node("MatMul", [f"{name}__patches", f"{name}__weight"], f"{name}__product" if biased else result),
    ]
    return [*made, node("Add", [f"{name}__product", conv.input[2]], result)] if biased else made
