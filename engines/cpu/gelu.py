"""GELU as one node."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jetvla.engines.cpu.edit import Edit

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def fuse_gelu(model: ModelProto) -> None:
    """Replace x * (1 + erf(x / sqrt(2))) / 2, in any order of the factors, by ONNX's ``Gelu`` (opset 20), in place.

    It is the exact function; approximations by tanh or sigmoid are slower in ONNX Runtime.
    """
    edit = Edit(model)
    for erf in edit.nodes:
        if erf.op_type == "Erf":
            _fuse(edit, erf)
    edit.finish()


def _fuse(edit: Edit, erf: NodeProto) -> None:
    source = _over_root_two(edit, erf.input[0])
    risen = edit.reader(erf.output[0], "Add")
    if source is None or risen is None or edit.split_constant(risen) != (erf.output[0], 1.0):
        return
    last = _product(edit, risen.output[0], source)
    if last is not None:
        edit.add("Gelu", [source], [last.output[0]], last)
        edit.drop(last)


def _over_root_two(edit: Edit, name: str) -> str | None:
    """What ``name`` is the quotient of with sqrt(2)."""
    node = edit.maker(name, "Div", "Mul")
    parts = None if node is None else edit.split_constant(node)
    if node is None or parts is None or (node.op_type == "Div" and parts[0] != node.input[0]):
        return None
    factor = parts[1] if node.op_type == "Mul" else 1 / parts[1]
    return parts[0] if math.isclose(factor, math.sqrt(0.5), rel_tol=1e-6) else None


def _product(edit: Edit, name: str, source: str) -> NodeProto | None:
    """The last node of the product of ``name``, ``source`` and 0.5."""
    missing, last = {source, "0.5"}, None
    while missing:
        last = edit.reader(name, "Mul")
        if last is None:
            return None
        other = last.input[1] if last.input[0] == name else last.input[0]
        found = _factors(edit, other, source)
        if not found or not found <= missing:
            return None
        missing -= found
        name = last.output[0]
    return last


def _factors(edit: Edit, name: str, source: str) -> set[str]:
    """Which of ``source`` and 0.5 the tensor ``name`` is, or is the product of."""
    if name == source:
        return {source}
    if edit.scalar(name) == 0.5:
        return {"0.5"}
    node = edit.maker(name, "Mul")
    return {source, "0.5"} if node is not None and edit.split_constant(node) == (source, 0.5) else set()
