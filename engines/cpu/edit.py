"""Looking around in an ONNX graph, and changing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.graph import NodeNames, block_of, sort_nodes, tensor_types
from jetvla.engines.passes import replace_nodes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Array = NDArray[Any]


class Edit:
    """One pass over ``model``: what it asks is answered for the graph as it was; what it adds and drops appears with
    :meth:`finish`."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self._makers = {name: node for node in self.nodes for name in node.output}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._results = {value.name for value in model.graph.output}
        self._shapes = {name: shape for name, (_, shape) in tensor_types(model).items()}
        self._names = NodeNames(model)
        self._added: list[NodeProto] = []
        self._dropped: set[str] = set()
        self._renamed: dict[str, str] = {}

    def maker(self, name: str, *kinds: str) -> NodeProto | None:
        """The node that makes ``name``, if it is of one of ``kinds``."""
        node = self._makers.get(name)
        return node if node is not None and node.op_type in kinds else None

    def reader(self, name: str, *kinds: str) -> NodeProto | None:
        """The only node that reads ``name``, if it is of one of ``kinds`` and nothing else needs ``name``."""
        readers = self._readers.get(name, [])
        alone = len(readers) == 1 and name not in self._results
        return readers[0] if alone and readers[0].op_type in kinds else None

    def array(self, name: str) -> Array | None:
        """The constant ``name``, if it is one."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self._weights[name]) if name in self._weights else None

    def scalar(self, name: str) -> float | None:
        """The constant ``name`` as a number, if it is one number."""
        small = name in self._weights and int(np.prod(self._weights[name].dims)) == 1
        array = self.array(name) if small else None
        return None if array is None else float(array.item())

    def split_constant(self, node: NodeProto) -> tuple[str, float] | None:
        """Of a node with two inputs, one of which is a constant number: the other, and the number."""
        for tensor, constant in (tuple(node.input), tuple(node.input)[::-1]):
            number = self.scalar(constant)
            if number is not None:
                return tensor, number
        return None

    def is_constant(self, name: str) -> bool:
        return name in self._weights

    def shape(self, name: str) -> tuple[int, ...]:
        """Static shape of ``name``; () if it is a scalar or not known."""
        return self._shapes.get(name, ())

    def add(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], after: NodeProto, domain: str = "", **how: Any
    ) -> None:
        """Add a node in the block of the node ``after``; ``how`` are its attributes."""
        from onnx import helper

        name = self._names.new(block_of(after.name), kind)
        self._added.append(helper.make_node(kind, list(inputs), list(outputs), name=name, domain=domain, **how))

    def is_made(self, name: str) -> bool:
        """Whether an added node makes ``name``."""
        return any(name in node.output for node in self._added)

    def add_constant(self, name: str, array: Array) -> str:
        """Add a constant, once; returns its name."""
        from onnx import numpy_helper

        if name not in self._weights:
            self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
            self.model.graph.initializer.append(self._weights[name])
        return name

    def drop(self, *nodes: NodeProto) -> None:
        """Drop nodes whose outputs added ones make; nodes that only they read go by themselves."""
        self._dropped.update(node.name for node in nodes)

    def replace(self, name: str, other: str) -> None:
        """Let every node read ``other`` instead of ``name``."""
        self._renamed[name] = other

    def finish(self) -> None:
        """Change the graph."""
        nodes = [node for node in self.nodes if node.name not in self._dropped] + self._added
        for node in nodes:
            node.input[:] = [self._renamed.get(name, name) for name in node.input]
        makers = {name: node for node in nodes for name in node.output}
        wanted, read = list(self._results), set()
        while wanted:
            node = makers.get(wanted.pop())
            if node is not None and node.name not in read:
                read.add(node.name)
                wanted += node.input
        replace_nodes(self.model, [node for node in nodes if node.name in read])
        sort_nodes(self.model.graph)


def attributes(node: NodeProto) -> dict[str, Any]:
    """The values of a node's attributes."""
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def attribute(node: NodeProto, name: str) -> Any:
    """The value of a node's attribute, None if it has none of this name."""
    return attributes(node).get(name)
