"""A policy's blocks in a graph: the products that can be quantized, and how many multiplications they are."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from jetvla.engines.graph import tensor_types
from jetvla.engines.quantize import Site, find_sites

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_PRODUCTS = ("MatMul", "Gemm", "Conv")


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


def multiplications(model: ModelProto) -> dict[str, int]:
    """Multiplications of every MatMul, Gemm and Conv of a graph with static shapes, by node."""
    shapes = {name: shape for name, (_, shape) in tensor_types(model).items()}
    return {node.name: _count(node, shapes) for node in model.graph.node if node.op_type in _PRODUCTS}


def _count(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    result, left, right = (shapes[name] for name in (node.output[0], node.input[0], node.input[1]))
    if node.op_type == "Conv":
        return prod(result) * prod(right[1:])
    transposed = any(a.name == "transA" and a.i == 1 for a in node.attribute)
    return prod(result) * (left[0] if transposed else left[-1])
