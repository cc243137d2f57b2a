"""A policy's blocks in a graph: the products that can be quantized, and how many multiplications they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from jetvla.engines.graph import tensor_types
from jetvla.engines.quantize import Site, find_sites
from jetvla.runtime.errors import EngineError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# The last two are in graphs that were rewritten for a CPU.
_PRODUCTS = ("MatMul", "Gemm", "Conv", "Attention", "MatMulIntegerToFloat")


@dataclass(frozen=True)
class Block:
    """Nodes of one name that are quantized together.

    Attributes:
        name: empty for the nodes of no block.
        sites: in the order of the graph.
        multiplications: of ``sites``, in one run.
        share: ``multiplications`` divided by those of all products of the graph. Products of two activations, which
            are never quantized, count there, so that the shares of all blocks add up to less than 1.
    """

    name: str
    sites: tuple[Site, ...]
    multiplications: int
    share: float


def find_blocks(model: ModelProto) -> list[Block]:
    """Every block that has a site, in the order of the graph."""
    counts = multiplications(model)
    total = sum(counts.values())
    by_name: dict[str, list[Site]] = {}
    for site in find_sites(model):
        by_name.setdefault(site.block, []).append(site)
    own = {name: sum(counts[site.node] for site in sites) for name, sites in by_name.items()}
    return [Block(name, tuple(sites), own[name], own[name] / total) for name, sites in by_name.items()]


def multiplications(model: ModelProto, measured: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, int]:
    """Multiplications of every product of matrices of a graph, by node; attention's two products count as one.

    Args:
        model: with static shapes,
        measured: or with these by tensor, where they are known of a run.

    Raises:
        EngineError: if a shape is not known.
    """
    shapes = {name: shape for name, (_, shape) in tensor_types(model).items()} | dict(measured or {})
    return {node.name: _count(node, shapes) for node in model.graph.node if node.op_type in _PRODUCTS}


def _count(node: NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    attends = node.op_type == "Attention"
    names = node.input[:3] if attends else (node.output[0], node.input[1])
    if unknown := [name for name in names if 0 in shapes.get(name, (0,))]:
        raise EngineError(f"the shape of {', '.join(unknown)}, which {node.name!r} needs, is not known")
    if attends:
        query, key, value = (shapes[name] for name in names)
        # Every query's width with every key, and every key's weight with every value's width.
        return prod(query) * key[-2] + query[-2] * prod(value)
    result, right = (shapes[name] for name in names)
    if node.op_type == "Conv":
        return prod(result) * prod(right[1:])
    transposed = any(a.name == "transB" and a.i == 1 for a in node.attribute)
    return prod(result) * right[-1 if transposed else -2]
