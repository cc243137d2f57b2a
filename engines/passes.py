"""Rewrites of ONNX graphs that change how, and not what, they compute. All work in place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from jetvla.engines.graph import NodeNames, block_of, sort_nodes, tensor_types

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def fold_transposed_weights(model: ModelProto) -> None:
    """Replace ``Transpose(weight)`` by the transposed weight; the exporter leaves large ones."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type != "Transpose" or node.input[0] not in weights:
            kept.append(node)
            continue
        order = next((tuple(a.ints) for a in node.attribute if a.name == "perm"), None)
        array = np.ascontiguousarray(numpy_helper.to_array(weights[node.input[0]]).transpose(order))
        model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    replace_nodes(model, kept)


def pack_projections(model: ModelProto) -> None:
    """Make one MatMul and a Split of MatMuls that read the same activation, such as query, key and value.

    Fewer and larger products are faster everywhere; and ONNX Runtime runs an INT8 MatMul in INT8 only where its
    quantized input has one reader.
    """
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = Counter(name for node in model.graph.node for name in node.input)
    groups: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        # A weight with another reader would be stored twice.
        if node.op_type == "MatMul" and node.input[1] in weights and readers[node.input[1]] == 1:
            groups.setdefault(node.input[0], []).append(node)
    packed = {source: nodes for source, nodes in groups.items() if len(nodes) > 1 and source not in weights}
    names = NodeNames(model)
    gone = {node.name for nodes in packed.values() for node in nodes}
    nodes = [node for node in model.graph.node if node.name not in gone]
    for source, parts in packed.items():
        arrays = [numpy_helper.to_array(weights[part.input[1]]) for part in parts]
        name = f"{source}__packed"
        widths = np.array([array.shape[1] for array in arrays], np.int64)
        model.graph.initializer.append(numpy_helper.from_array(np.concatenate(arrays, axis=1), f"{name}_weight"))
        model.graph.initializer.append(numpy_helper.from_array(widths, f"{name}_widths"))
        block = block_of(parts[0].name)
        label = names.new(block, "MatMul")
        nodes.append(helper.make_node("MatMul", [source, f"{name}_weight"], [name], name=label))
        outputs, label = [part.output[0] for part in parts], names.new(block, "Split")
        nodes.append(helper.make_node("Split", [name, f"{name}_widths"], outputs, name=label, axis=-1))
    replace_nodes(model, nodes)
    sort_nodes(model.graph)


def keep_biases_apart(model: ModelProto, outputs: set[str]) -> None:
    """Give the bias added to each of ``outputs`` ([1, S, N]) the shape [1, 1, N].

    ONNX Runtime makes a Gemm of a MatMul and a bias of shape [N], and has no Gemm of INT8 inputs and float output, so
    that the product would run in float.
    """
    from onnx import numpy_helper

    rank = {name: len(shape) for name, (_, shape) in tensor_types(model).items()}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        wide = [name for name in node.input if name in outputs and rank.get(name) == 3]
        if node.op_type != "Add" or not wide:
            continue
        for index, name in enumerate(node.input):
            if name in weights and len(weights[name].dims) == 1:
                shaped = f"{name}__row"
                if shaped not in weights:
                    row = numpy_helper.to_array(weights[name])[None, None]
                    weights[shaped] = numpy_helper.from_array(row, shaped)
                    model.graph.initializer.append(weights[shaped])
                node.input[index] = shaped
    replace_nodes(model, list(model.graph.node))


def replace_nodes(model: ModelProto, nodes: Iterable[NodeProto]) -> None:
    """Make ``nodes`` the graph's nodes, and drop weights that none of them reads."""
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    used = {name for node in copies for name in node.input} | {value.name for value in model.graph.output}
    for tensor in [t for t in model.graph.initializer if t.name not in used]:
        model.graph.initializer.remove(tensor)
