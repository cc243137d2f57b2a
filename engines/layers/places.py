"""Blocks of a graph's nodes, those included that bear no block's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from jetvla.engines.blocks import multiplications
from jetvla.engines.graph import block_of

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Shapes = Mapping[str, tuple[int, ...]]


class Places:
    """The blocks of ``model``, a graph of a bundle or of the engine cache.

    Args:
        model: its nodes are named as :mod:`jetvla.engines.graph` says.
        measured: shapes of tensors where the graph does not state them.

    Attributes:
        blocks: block by node, in the order of the graph; empty where neither its name nor its neighbours tell.
        makers: node by tensor.
        work: multiplications by node; without those of constants, which every library does when it opens the graph.
        order: number of the first product of each block, or of its first node if it has none.
    """

    def __init__(self, model: ModelProto, measured: Shapes | None = None) -> None:
        self.model = model
        self.blocks = spread(model.graph.node, {node.name: block_of(node.name) for node in model.graph.node})
        self.makers = {name: node.name for node in model.graph.node for name in node.output}
        variable = _variable(model)
        self.work = {node: n for node, n in multiplications(model, measured).items() if node in variable}
        numbers = {node: number for number, node in enumerate(self.blocks)}
        working = {self.blocks[node]: numbers[node] for node in reversed(self.work)}
        self.order = {block: numbers[node] for node, block in reversed(self.blocks.items())} | working

    def in_order(self, blocks: Iterable[str]) -> list[str]:
        """``blocks``, each once, as the graph runs them."""
        return sorted(set(blocks) - {""}, key=self.order.__getitem__)


def _variable(model: ModelProto) -> set[str]:
    """Nodes that depend on an input of the graph."""
    tensors, nodes = {value.name for value in model.graph.input}, set()
    for node in model.graph.node:
        if tensors & set(node.input):
            nodes.add(node.name)
            tensors.update(node.output)
    return nodes


def spread(nodes: Sequence[NodeProto], known: Mapping[str, str]) -> dict[str, str]:
    """The block of every node; empty where it cannot be told.

    A node that is not ``known`` belongs to the block that alone reads it: an image is normalised for the patch
    embedding. If several do, it belongs to the one that it read last: a residual sum ends the block that it adds.
    """
    blocks = {node.name: known.get(node.name, "") for node in nodes}
    readers: dict[str, list[str]] = {}
    makers = {name: node.name for node in nodes for name in node.output}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node.name)
    for node in reversed(nodes):
        reading = {blocks[reader] for name in node.output for reader in readers.get(name, [])}
        if not blocks[node.name] and len(reading) == 1:
            blocks[node.name] = reading.pop()
    place = {node.name: number for number, node in enumerate(nodes)}
    for node in nodes:
        made = [maker for name in node.input if (maker := makers.get(name)) and blocks[maker]]
        if not blocks[node.name] and made:
            blocks[node.name] = blocks[max(made, key=place.__getitem__)]
    return blocks
