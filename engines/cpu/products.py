"""Products of an activation with a constant weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jetvla.engines.cpu.edit import Array, Edit, attribute

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


class Product(NamedTuple):
    """``result`` [..., N] = ``source`` [..., K] @ ``weight`` [K, N] + ``bias`` [N]; ``last`` is the node that makes
    ``result``, ``first`` the product."""

    source: str
    weight: str
    transposed: bool
    bias: str
    result: str
    first: NodeProto
    last: NodeProto


def find_products(edit: Edit) -> list[Product]:
    """Every MatMul and plain Gemm of an activation with a constant matrix, with the bias that follows."""
    found = []
    for node in edit.nodes:
        constant = len(node.input) > 1 and edit.is_constant(node.input[1]) and not edit.is_constant(node.input[0])
        if not constant or len(edit.shape(node.input[1])) != 2:
            continue
        if node.op_type == "MatMul":
            found.append(_with_bias(edit, node))
        elif node.op_type == "Gemm" and _is_plain(edit, node):
            bias = node.input[2] if len(node.input) > 2 else ""
            across = attribute(node, "transB") == 1
            found.append(Product(node.input[0], node.input[1], across, bias, node.output[0], node, node))
    return found


def _is_plain(edit: Edit, gemm: NodeProto) -> bool:
    factors = {attribute(gemm, name) for name in ("alpha", "beta")} - {None}
    row = len(gemm.input) < 3 or (edit.is_constant(gemm.input[2]) and len(edit.shape(gemm.input[2])) == 1)
    return factors <= {1.0} and not attribute(gemm, "transA") and row


def _with_bias(edit: Edit, node: NodeProto) -> Product:
    result, width = node.output[0], edit.shape(node.input[1])[1]
    added = edit.reader(result, "Add")
    if added is not None:
        bias = added.input[1] if added.input[0] == result else added.input[0]
        if edit.is_constant(bias) and int(np.prod(edit.shape(bias))) == width == edit.shape(bias)[-1]:
            return Product(node.input[0], node.input[1], False, bias, added.output[0], node, added)
    return Product(node.input[0], node.input[1], False, "", result, node, node)


def split_products(model: ModelProto) -> None:
    """Make one product for each part that a Split cuts from a product, such as query, key and value, in place.

    The cut is a copy of the whole result, and ONNX Runtime's products of 768 columns are no slower than those of 2304.
    """
    edit = Edit(model)
    for node in edit.nodes:
        if node.op_type == "MatMul" and edit.is_constant(node.input[1]) and len(edit.shape(node.input[1])) == 2:
            _split(edit, node)
    edit.finish()


def _split(edit: Edit, node: NodeProto) -> None:
    added = edit.reader(node.output[0], "Add")
    last = node if added is None else added
    cut = edit.reader(last.output[0], "Split")
    if cut is None or attribute(cut, "axis") not in (-1, len(edit.shape(last.output[0])) - 1):
        return
    weight, offset = edit.array(node.input[1]), None
    assert weight is not None
    if added is not None:
        offset = edit.array(added.input[1] if added.input[0] == node.output[0] else added.input[0])
        if offset is None or offset.ndim == 0 or offset.shape[-1] != weight.shape[1]:
            return
    stops = np.cumsum([edit.shape(name)[-1] for name in cut.output])
    if stops[-1] != weight.shape[1]:
        return
    for part, (name, stop) in enumerate(zip(cut.output, stops, strict=True)):
        columns = slice(int(stop) - edit.shape(name)[-1], int(stop))
        _part(edit, node, part, columns, weight, offset, name)
    edit.drop(cut)


def _part(
    edit: Edit, node: NodeProto, part: int, columns: slice, weight: Array, offset: Array | None, result: str
) -> None:
    narrow = edit.add_constant(f"{node.input[1]}__part{part}", weight[:, columns])
    product = result if offset is None else f"{result}__product"
    edit.add("MatMul", [node.input[0], narrow], [product], node)
    if offset is not None:
        bias = edit.add_constant(f"{node.output[0]}__offset{part}", offset[..., columns])
        edit.add("Add", [product, bias], [result], node)
