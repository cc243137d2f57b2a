"""The Q/DQ pairs of a calibrated INT8 graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jetvla.engines.cpu.edit import Array, Edit, attribute

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def take_pairs(model: ModelProto) -> dict[str, float]:
    """Take the pairs out of ``model``, in place: INT8 weights become float ones of the same values.

    Returns:
        The scale of every activation that had a pair (symmetric INT8), by the activation's name.
    """
    edit, scales = Edit(model), {}
    for node in edit.nodes:
        if node.op_type != "DequantizeLinear":
            continue
        integers = edit.array(node.input[0])
        if integers is None:
            scales.update(_take_activation(edit, node))
        else:
            edit.replace(node.output[0], edit.add_constant(f"{node.output[0]}__float", _floats(edit, node, integers)))
    edit.finish()
    return scales


def _take_activation(edit: Edit, node: NodeProto) -> dict[str, float]:
    quantize, scale = edit.maker(node.input[0], "QuantizeLinear"), edit.scalar(node.input[1])
    if quantize is None or scale is None:
        return {}
    edit.replace(node.output[0], quantize.input[0])
    return {quantize.input[0]: scale}


def _floats(edit: Edit, node: NodeProto, integers: Array) -> Array:
    scale = edit.array(node.input[1])
    assert scale is not None
    shape = [1] * integers.ndim
    if scale.ndim:
        shape[attribute(node, "axis")] = -1
    return integers.astype(np.float32) * scale.reshape(shape)
