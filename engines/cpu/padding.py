"""Padding tokens, left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jetvla.engines.cpu.edit import Edit, attribute, attributes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# Added to a score, it makes the weight exp(score) zero in float32 beside any token's.
_MASKED = -1e3
# What gives each token's row of the result from this row of the operands.
_ROW_WISE = ("Add", "Gelu", "LayerNormalization", "MatMul", "Mul", "Relu", "Sum")


def drop_padding(model: ModelProto) -> None:
    """Compute only the text tokens that are there, in place; the shape of what follows depends on the instruction.

    A masked token has weight zero in every attention, so that nothing else depends on its row. The graph stays as it
    is unless every node between the inputs and the last use of the rows is known to keep rows apart.
    """
    edit = Edit(model)
    masks = {name: mask for node in edit.nodes if (name := _bias(node)) and (mask := _mask_of(edit, name))}
    if len(set(masks.values())) != 1:
        return
    mask, length = next(iter(masks.values())), edit.shape(next(iter(masks)))[-1]
    joined = _joined(edit, length, edit.shape(mask)[-1])
    if _rows_stay_apart(edit, joined, set(masks), length - edit.shape(mask)[-1]):
        _leave_out(edit, joined, masks, mask)
    edit.finish()


def _bias(node: NodeProto) -> str:
    return node.input[3] if node.op_type == "Attention" and len(node.input) > 3 else ""


def _mask_of(edit: Edit, bias: str) -> str:
    """The graph's input [1, L] (1 a token, 0 padding) that ``bias`` is made of as (1 - mask) * MASKED, behind zeros for
    tokens that are always there; empty if it is made otherwise."""
    for kind in ("Expand", "Unsqueeze"):
        node = edit.maker(bias, kind)
        bias = node.input[0] if node is not None else bias
    joined = edit.maker(bias, "Concat")
    zeros = edit.array(joined.input[0]) if joined is not None and len(joined.input) == 2 else None
    if (
        joined is None
        or zeros is None
        or zeros.any()
        or zeros.shape[0] != 1
        or attribute(joined, "axis") not in (1, -1)
    ):
        return ""
    scaled = edit.maker(joined.input[1], "Mul")
    parts = None if scaled is None else edit.split_constant(scaled)
    inverse = None if parts is None or parts[1] > _MASKED else edit.maker(parts[0], "Sub")
    if inverse is None or edit.scalar(inverse.input[0]) != 1:
        return ""
    return inverse.input[1] if inverse.input[1] in {value.name for value in edit.model.graph.input} else ""


def _joined(edit: Edit, length: int, text: int) -> list[NodeProto]:
    """Concats of tokens that are always there with ``text`` tokens given to the graph."""
    inputs = {value.name for value in edit.model.graph.input}
    return [
        node
        for node in edit.nodes
        if node.op_type == "Concat"
        and attribute(node, "axis") in (1, -2)
        and len(node.input) == 2
        and node.input[1] in inputs
        and edit.shape(node.input[1])[1:2] == (text,)
        and edit.shape(node.output[0])[1:2] == (length,)
    ]


def _rows_stay_apart(edit: Edit, joined: list[NodeProto], biases: set[str], always: int) -> bool:
    """Whether only attention with one of ``biases`` mixes the rows of ``joined``, and only the first ``always`` rows
    are read in the end."""
    rows = {node.output[0] for node in joined}
    for node in edit.nodes:
        masked = _bias(node) in biases
        if masked and not rows.issuperset(node.input[1:3]):
            return False
        if not rows & set(node.input) or _reads_first(edit, node, always):
            continue
        if node.op_type in _ROW_WISE and all(name in rows or _is_row(edit, node, name) for name in node.input):
            rows.add(node.output[0])
        elif not masked:
            return False
        elif node.input[0] in rows:
            rows.add(node.output[0])
    return not rows & {value.name for value in edit.model.graph.output}


def _is_row(edit: Edit, node: NodeProto, name: str) -> bool:
    """Whether constant ``name`` does the same to each row: it has one, or is a weight."""
    whole = node.op_type == "MatMul" and name == node.input[1]
    shape = edit.shape(name)
    return edit.is_constant(name) and (whole or len(shape) < 2 or shape[-2] == 1)


def _reads_first(edit: Edit, node: NodeProto, always: int) -> bool:
    """Whether ``node`` takes some of the first ``always`` rows."""
    if node.op_type == "Gather" and attribute(node, "axis") == 1:
        chosen = edit.array(node.input[1])
        return chosen is not None and bool((chosen >= 0).all() and (chosen < always).all())
    if node.op_type != "Slice" or len(node.input) < 4:
        return False
    start, stop, axis = (edit.scalar(name) for name in node.input[1:4])
    return axis == 1 and start is not None and start >= 0 and stop is not None and 0 <= stop <= always


def _leave_out(edit: Edit, joined: list[NodeProto], biases: dict[str, str], mask: str) -> None:
    axis = edit.add_constant(f"{mask}__batch", np.array([0], np.int64))
    first = joined[0]
    edit.add("Squeeze", [mask, axis], [f"{mask}__flat"], first)
    edit.add("NonZero", [f"{mask}__flat"], [f"{mask}__places"], first)
    edit.add("Squeeze", [f"{mask}__places", axis], [f"{mask}__tokens"], first)
    for node in joined:
        kept = f"{node.output[0]}__text"
        edit.add("Gather", [node.input[1], f"{mask}__tokens"], [kept], node, axis=1)
        edit.add("Concat", [node.input[0], kept], node.output, node, axis=1)
        edit.drop(node)
    for node in edit.nodes:
        if _bias(node) in biases:
            edit.add("Attention", node.input[:3], node.output, node, **attributes(node))
            edit.drop(node)
