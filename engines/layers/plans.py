"""TensorRT's layers and the nodes of the graph that they compute.

What a layer is called has been read from NVIDIA's documentation and from logs that others published; see the tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from jetvla.engines.layers.layer import SEVERAL, Layer, Placed, Work
from jetvla.engines.layers.places import Places
from jetvla.runtime.backends.base import LayerTimes
from jetvla.runtime.errors import EngineError

Nodes = tuple[str, ...]
# A node's name as jetvla writes it, perhaps with other words before it; and the end that no two nodes share.
_NODE = re.compile(r"[\w\- ]*(?P<end>/[A-Za-z]+_\d+)")
_REGION = re.compile(r"\{ForeignNode\[(?P<first>.+?)\.\.\.(?P<last>.+?)\]\}")
_METADATA = re.compile(r"\[ONNX Layer: (.+?)\]")


def nodes_of(layer: str, graph: Nodes, weights: Mapping[str, str]) -> Nodes:
    """The nodes that a layer computes, by its name; nothing if the name does not tell.

    Args:
        layer: name as TensorRT's profiler reports it.
        graph: names of the graph's nodes, in its order.
        weights: by name of a weight the node that reads it first: regions are named by those too.
    """
    region = _REGION.search(layer)
    if region is None:
        return _named(layer, graph)
    places = {name: number for number, name in enumerate(graph)}
    ends = [_end(region[end], graph, weights) for end in ("first", "last")]
    if not all(ends):
        return ()
    numbers = [places[name] for end in ends for name in end]
    return graph[min(numbers) : max(numbers) + 1]


def _end(text: str, graph: Nodes, weights: Mapping[str, str]) -> Nodes:
    return _named(text, graph) or tuple(weights[part] for part in text.split(" + ") if part in weights)


def _named(text: str, graph: Nodes) -> Nodes:
    """Every node that ``text`` names."""
    ends = {f"/{name.rpartition('/')[2]}": name for name in graph}
    found = ((match[0], ends.get(match["end"], "")) for match in _NODE.finditer(text))
    return tuple(dict.fromkeys(name for words, name in found if name and words.endswith(name)))


def read_metadata(path: Path) -> dict[str, Nodes]:
    """Nodes by name of a layer, from the report of the engine inspector that ``jetvla compile`` keeps beside a plan;
    nothing where it names none.

    Raises:
        EngineError: if it is not there or no such report.
    """
    try:
        layers = json.loads(path.read_text(encoding="utf-8"))["Layers"]
        described = [layer for layer in layers if isinstance(layer, dict)]
        return {layer["Name"]: tuple(_METADATA.findall(layer.get("Metadata") or "")) for layer in described}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"{path} does not say which layers its plan has ({error!r}); make it again with: jetvla compile --again"
        ) from error


def place_layers(places: Places, metadata: Mapping[str, Nodes], times: tuple[LayerTimes, ...]) -> Placed:
    """Which row every layer of ``times`` belongs to.

    A layer whose products are all of one block is that block's; one with products of several is a row of its own,
    since nobody knows how its time divides.
    """
    graph = tuple(places.blocks)
    weights = _first_readers(places)
    layers: list[Layer] = []
    rows: dict[str, str] = {}
    for layer in times:
        named = tuple(node for node in metadata.get(layer.name, ()) if node in places.blocks)
        nodes = named or nodes_of(layer.name, graph, weights)
        row = _row(nodes, places)
        layers.append(Layer(row, "", layer.ms))
        if not layer.name.startswith("Reformatting"):
            rows.update({node: rows.get(node, row) for node in nodes if node in places.work})
    integers = _on_integers(places)
    work: dict[str, Work] = {}
    for product, count in places.work.items():
        row = rows.get(product, places.blocks[product])
        work[row] = work.get(row, Work()).plus(count, product in integers)
    rows_there = {layer.row for layer in layers} | work.keys()
    order = sorted(rows_there - {""}, key=lambda row: [places.order[block] for block in row.split(SEVERAL)])
    return Placed(layers, work, order)


def _row(nodes: Nodes, places: Places) -> str:
    blocks = places.in_order(places.blocks[node] for node in nodes)
    working = places.in_order(places.blocks[node] for node in nodes if node in places.work)
    if len(working) > 1:
        return f"{working[0]}{SEVERAL}{working[-1]}"
    return working[0] if working else blocks[-1] if blocks else ""


def _first_readers(places: Places) -> dict[str, str]:
    readers: dict[str, str] = {}
    for node in places.model.graph.node:
        for name in node.input:
            if name not in places.makers:
                readers.setdefault(name, node.name)
    return readers


def _on_integers(places: Places) -> set[str]:
    """Products of two tensors that were integers."""
    kinds = {name: node.op_type for node in places.model.graph.node for name in node.output}
    return {
        node.name
        for node in places.model.graph.node
        if node.name in places.work and all(kinds.get(name) == "DequantizeLinear" for name in node.input[:2])
    }
