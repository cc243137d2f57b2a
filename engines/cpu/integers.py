"""Products in INT8."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.cpu.edit import Array, Edit
from jetvla.engines.cpu.products import Product, find_products
from jetvla.engines.graph import block_of

if TYPE_CHECKING:
    from onnx import ModelProto

MICROSOFT = "com.microsoft"


def to_integers(
    model: ModelProto, levels: int, keep_float: Container[str] = (), scales: Mapping[str, float] | None = None
) -> None:
    """Compute products of ``model`` on integers, in place.

    Activations are unsigned 8-bit and weights signed 8-bit, symmetric, with a scale for each column: ONNX Runtime's
    x86 kernels are fast for this pair only.

    Args:
        levels: largest weight; see :func:`jetvla.engines.cpu.processor.weight_levels`.
        keep_float: blocks whose products stay as they are.
        scales: of symmetric INT8, by activation; products of other activations stay as they are. Without it all
            are quantized, with the scale and the zero point that each has at each step.
    """
    edit = Edit(model)
    for product in find_products(edit):
        chosen = block_of(product.first.name) not in keep_float
        if chosen and (scales is None or product.source in scales):
            _multiply(edit, product, _activation(edit, product, scales), levels)
    edit.finish()
    if not any(opset.domain == MICROSOFT for opset in model.opset_import):
        model.opset_import.add(domain=MICROSOFT, version=1)


def _activation(edit: Edit, product: Product, scales: Mapping[str, float] | None) -> list[str]:
    """Names of the quantized source of ``product``: integers, scale, zero point."""
    name, source = f"{product.source}__uint8", product.source
    if scales is None:
        parts = [name, f"{name}_scale", f"{name}_zero"]
        if not edit.is_made(name):
            edit.add("DynamicQuantizeLinear", [source], parts, product.first)
        return parts
    # The same integers as of INT8, moved by 128.
    scale = edit.add_constant(f"{name}_scale", np.array(scales[source], np.float32))
    zero = edit.add_constant(f"{name}_zero", np.array(128, np.uint8))
    if not edit.is_made(name):
        edit.add("QuantizeLinear", [source, scale, zero], [name], product.first)
    return [name, scale, zero]


def _multiply(edit: Edit, product: Product, activation: Sequence[str], levels: int) -> None:
    """Replace ``product`` by one of the quantized ``activation`` (integers, scale, zero point)."""
    weight = edit.array(product.weight)
    assert weight is not None
    integers, scale = quantize_columns(weight.T if product.transposed else weight, levels)
    name, (source, source_scale, zero) = product.weight, activation
    inputs = [
        source,
        edit.add_constant(f"{name}__int8", integers),
        source_scale,
        edit.add_constant(f"{name}__int8_scale", scale),
        zero,
        "",
        _row(edit, product.bias),
    ]
    edit.add("MatMulIntegerToFloat", inputs, [product.result], product.first, MICROSOFT)
    edit.drop(product.last, product.first)


def _row(edit: Edit, bias: str) -> str:
    """``bias`` with one dimension, as the node wants it."""
    array = edit.array(bias)
    return "" if array is None else edit.add_constant(f"{bias}__row", array.reshape(-1))


def quantize_columns(weight: Array, levels: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers [K, N] of absolute value up to ``levels`` and scales [N] whose products are nearest to ``weight``."""
    scale = np.maximum(np.abs(weight).max(axis=0) / levels, np.finfo(np.float32).tiny).astype(np.float32)
    return np.round(weight / scale).astype(np.int8), scale
