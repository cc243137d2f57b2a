"""The FP16 body of a step graph, for engines that are strongly typed.

Between the first and the last weighted node everything is FP16; images, language inputs and the action's
un-normalisation stay in FP32, with casts where the two meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jetvla.engines.graph import NodeNames, block_of, sort_nodes, tensor_types
from jetvla.runtime.errors import EngineError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# The first opset whose QuantizeLinear takes FP16.
HALF_OPSET = 19
_WEIGHTED = ("MatMul", "Gemm", "Conv")
_HALF_MAX = float(np.finfo(np.float16).max)


def to_half(model: ModelProto) -> ModelProto:
    """A copy of a float32 (or Q/DQ) graph with an FP16 body; EngineError if a constant overflows FP16."""
    copy = type(model)()
    copy.CopyFrom(model)
    copy.opset_import[0].version = HALF_OPSET
    _Halver(copy).convert()
    return copy


def rounded(model: ModelProto) -> ModelProto:
    """A copy of an FP16 graph for judging it in ONNX Runtime on a CPU, which has few FP16 kernels.

    It computes everything else in float32 and takes out the conversions between, so that neither rounding nor
    overflow would be seen. Two Identities, which have an FP16 kernel, keep them in after every result: one alone
    would be computed in float32 too. (The runner must not remove them.) The inputs of an INT8 product are left
    alone: no device rounds them to FP16.
    """
    from onnx import TensorProto, helper

    copy = type(model)()
    copy.CopyFrom(model)
    types, names = tensor_types(model), NodeNames(copy)
    for node in list(copy.graph.node):
        for index, name in enumerate(node.output):
            if node.op_type != "DequantizeLinear" and types[name][0] == TensorProto.FLOAT16:
                exact, half = f"{name}__exact", f"{name}__rounded"
                node.output[index] = exact
                for source, result in ((exact, half), (half, name)):
                    label = names.new(block_of(node.name), "Identity")
                    copy.graph.node.append(helper.make_node("Identity", [source], [result], name=label))
    sort_nodes(copy.graph)
    return copy


class _Halver:
    def __init__(self, model: ModelProto) -> None:
        from onnx import helper, numpy_helper

        self._graph, self._helper, self._numpy = model.graph, helper, numpy_helper
        self._float = {name for name, (kind, _) in tensor_types(model).items() if kind == 1}
        self._weights = {t.name: t for t in model.graph.initializer}
        self._names = NodeNames(model)
        self._cast: dict[str, str] = {}

    def convert(self) -> None:
        body = self._body()
        inside = {name for node in body for name in node.output}
        members = {id(node) for node in body}
        for node in list(self._graph.node):
            if id(node) in members:
                self._halve(node, inside)
            else:
                self._meet(node, inside)
        for output in self._graph.output:
            if output.name in inside and output.name in self._float:
                raise EngineError("the step graph ends in a weighted node; un-normalisation is missing")
        self._drop_unused()
        sort_nodes(self._graph)

    def _body(self) -> list[NodeProto]:
        """Nodes that are, or lie between, weighted nodes."""
        nodes = list(self._graph.node)
        after: set[str] = set()
        from_weighted = set()
        for node in nodes:
            if node.op_type in _WEIGHTED or after.intersection(node.input):
                after.update(node.output)
                from_weighted.add(id(node))
        before: set[str] = set()
        body = []
        for node in reversed(nodes):
            if node.op_type in _WEIGHTED or before.intersection(node.output):
                before.update(node.input)
                # Weights' DequantizeLinear has no weighted node before it, but must feed FP16.
                if id(node) in from_weighted or node.op_type.endswith("izeLinear"):
                    body.append(node)
        return body[::-1]

    def _halve(self, node: NodeProto, inside: set[str]) -> None:
        for index, name in enumerate(node.input):
            if name in self._float and name not in inside:
                node.input[index] = (
                    self._half_weight(name) if name in self._weights else self._casted(name, "half", node)
                )
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == 1:
                attribute.i = 10
            if node.op_type == "Constant" and attribute.name == "value" and attribute.t.data_type == 1:
                raise EngineError("a constant inside the body was not folded; export the graph again")

    def _meet(self, node: NodeProto, inside: set[str]) -> None:
        for index, name in enumerate(node.input):
            if name in inside and name in self._float:
                node.input[index] = self._casted(name, "single", node)

    def _half_weight(self, name: str) -> str:
        result = f"{name}__half"
        if result not in self._weights:
            array = self._numpy.to_array(self._weights[name])
            if array.size and float(np.abs(array).max()) > _HALF_MAX:
                raise EngineError(f"weight {name} overflows FP16; build with --target cpu")
            tensor = self._numpy.from_array(array.astype(np.float16), result)
            self._graph.initializer.append(tensor)
            self._weights[result] = tensor
        return result

    def _casted(self, name: str, kind: str, reader: NodeProto) -> str:
        result = f"{name}__{kind}"
        if result not in self._cast:
            to, label = 10 if kind == "half" else 1, self._names.new(block_of(reader.name), "Cast")
            self._graph.node.append(self._helper.make_node("Cast", [name], [result], name=label, to=to))
            self._cast[result] = name
        return result

    def _drop_unused(self) -> None:
        used = {name for node in self._graph.node for name in node.input}
        for tensor in [t for t in self._graph.initializer if t.name not in used]:
            self._graph.initializer.remove(tensor)
