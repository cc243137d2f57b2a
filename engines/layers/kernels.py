"""ONNX Runtime's kernels and the blocks that they compute.

It runs a rewritten graph: nodes that it left alone keep their names; a fused one has a name that begins with that of
one of its parts, or a name of its own and an output that a part of it made before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jetvla.engines.layers.layer import Layer, Placed, Work
from jetvla.engines.layers.places import Places, Shapes, spread
from jetvla.runtime.backends.base import LayerTimes
from jetvla.runtime.errors import EngineError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# Kernels that multiply 8-bit integers.
_INTEGERS = (
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "ConvInteger",
    "QLinearMatMul",
    "QLinearConv",
    "QGemm",
    "QAttention",
)
# What it puts before the name of a product that took in the activation behind it, and behind that of a tensor whose
# node it moved to channels in blocks.
_FUSED, _BLOCKED = "fused ", "_nchwc"
# Bias, scale and activation: more does not go into one kernel with a product.
_FUSED_NODES = 4


def measured_shapes(times: tuple[LayerTimes, ...], rewritten: ModelProto) -> Shapes:
    """Shapes of tensors as a run had them."""
    by_name = {layer.name: layer.shapes for layer in times}
    shapes: dict[str, tuple[int, ...]] = {}
    for node in rewritten.graph.node:
        outputs = [name for name in node.output if name]
        known = by_name.get(node.name, ())
        if len(known) == len(outputs):
            shapes.update(zip(outputs, known, strict=True))
    return shapes


def place_kernels(places: Places, rewritten: ModelProto, times: tuple[LayerTimes, ...]) -> Placed:
    """Which block every kernel of ``times`` belongs to.

    Args:
        places: of the graph that was opened.
        rewritten: the graph that ran.
        times: of its nodes.

    Raises:
        EngineError: if a kernel is no node of ``rewritten``.
    """
    parts = {node.name: _part(node, places) for node in rewritten.graph.node}
    known = {name: places.blocks[part] for name, part in parts.items() if part}
    blocks = spread(rewritten.graph.node, known)
    if strange := [layer.name for layer in times if layer.name not in blocks]:
        raise EngineError(f"ONNX Runtime timed {strange[0]!r}, which is no node of the graph that it says it runs")
    layers = [Layer(blocks[layer.name], layer.kind, layer.ms) for layer in times]
    kinds: dict[str, str] = {part: node.op_type for node in rewritten.graph.node if (part := parts[node.name])}
    work: dict[str, Work] = {}
    for product, count in places.work.items():
        row = places.blocks[product]
        work[row] = work.get(row, Work()).plus(count, _kind(product, places, kinds) in _INTEGERS)
    return Placed(layers, work, places.in_order([*blocks.values(), *work]))


def _part(node: NodeProto, places: Places) -> str:
    """The node of the opened graph that ``node`` is, or has a part of; empty if it is the library's own."""
    name: str = node.name.removeprefix(_FUSED)
    while name:
        if name in places.blocks:
            return name
        name = name.rpartition("/")[0]
    made = [*node.output, node.name.removesuffix(_BLOCKED)]
    return next((places.makers[tensor] for tensor in made if tensor in places.makers), "")


def _kind(product: str, places: Places, kinds: Mapping[str, str]) -> str:
    """The kind of kernel that computes ``product``, which bears its name or that of a node fused behind it."""
    nodes = {node.name: node for node in places.model.graph.node}
    node: NodeProto | None = nodes[product]
    for _ in range(_FUSED_NODES):
        if node is None or node.name in kinds:
            break
        output = node.output[0]
        node = next((reader for reader in nodes.values() if output in reader.input), None)
    return "" if node is None else kinds.get(node.name, "")
