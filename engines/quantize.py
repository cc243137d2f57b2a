"""INT8 as explicit QuantizeLinear/DequantizeLinear pairs.

Only the inputs of MatMul, Gemm and Conv with constant weights are quantized: activations per tensor and
symmetric, one pair shared by all readers of an activation; weights per output channel, symmetric, stored as
INT8. Everything else (residual sums, LayerNorm, softmax, GELU, the products of attention) stays in float:
quantizing it is what costs transformers their accuracy (see "8-bit Numerical Formats for DNNs", Noune et al.
2022, and ENGINES.md of the design).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.ranges import LEVELS, AbsoluteHistogram
from jetvla.engines.graph import NodeNames, block_of, sort_nodes
from jetvla.engines.passes import keep_biases_apart
from jetvla.engines.runner import GraphRunner

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Array = NDArray[Any]
_WEIGHTED = ("MatMul", "Gemm", "Conv")
# Where FP16 has all its digits.
_SMALLEST_HALF, _LARGEST_HALF = 2.0**-14, 65504.0


class Site(NamedTuple):
    """One node whose two inputs are quantized; ``axis`` is the weight's output channel."""

    node: str
    activation: str
    weight: str
    axis: int

    @property
    def block(self) -> str:
        """The block of the policy that it is in."""
        return block_of(self.node)


@dataclass(frozen=True)
class Quantized:
    """``model`` with Q/DQ pairs; how many weighted nodes have them, and how many stayed in float."""

    model: ModelProto
    quantized_nodes: int
    float_nodes: int


def find_sites(model: ModelProto) -> list[Site]:
    """Every MatMul, Gemm and Conv of an activation with a constant weight that INT8 has kernels for, in graph order.

    INT8 convolutions read channels in fours: TensorRT has none for an image's three, and then builds nothing. The
    convolution of pixels is also where INT8 costs most accuracy and saves little time.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    sites = []
    for node in model.graph.node:
        if node.op_type not in _WEIGHTED or node.input[1] not in weights or node.input[0] in weights:
            continue
        shape = weights[node.input[1]].dims
        if shape[1] % 4 == 0 if node.op_type == "Conv" else len(shape) == 2:
            sites.append(Site(node.name, node.input[0], node.input[1], _channel_axis(node)))
    return sites


def _channel_axis(node: NodeProto) -> int:
    if node.op_type == "Conv":
        return 0
    transposed = any(a.name == "transB" and a.i == 1 for a in node.attribute)
    return 0 if transposed else 1


def collect_ranges(
    model: ModelProto, sites: Iterable[Site], samples: Iterable[Mapping[str, Array]]
) -> dict[str, AbsoluteHistogram]:
    """Histograms of the activations of ``sites`` over the graph's inputs in ``samples``, one sample in memory at a
    time."""
    names = list(dict.fromkeys(site.activation for site in sites))
    runner = GraphRunner.of_model(model, extra_outputs=names)
    histograms = {name: AbsoluteHistogram() for name in names}
    for sample in samples:
        # An activation may be an input of the graph itself.
        tensors = {**sample, **runner.run(sample)}
        for name in names:
            histograms[name].add(tensors[name])
    return histograms


def quantize(model: ModelProto, limits: Mapping[str, float], keep_float: Collection[str] = ()) -> Quantized:
    """A copy of ``model`` in which weighted nodes compute on INT8 inputs.

    Args:
        model: float32.
        limits: by activation, the |x| that becomes 127; see :meth:`AbsoluteHistogram.limit`. A node whose activation
            has none stays in float.
        keep_float: blocks whose nodes stay in float.

    Raises:
        ValueError: a name of ``keep_float`` is no block of the graph.
    """
    copy = type(model)()
    copy.CopyFrom(model)
    unknown = set(keep_float) - {block_of(node.name) for node in copy.graph.node}
    if unknown:
        raise ValueError(f"the graph has no block {', '.join(sorted(unknown))}")
    every = find_sites(copy)
    sites = [s for s in every if s.activation in limits and s.block not in keep_float]
    nodes = {node.name: node for node in copy.graph.node}
    writer = _Writer(copy)
    for site in sites:
        limit = limits[site.activation]
        nodes[site.node].input[0] = writer.activation(site.activation, limit / LEVELS, site.block)
        nodes[site.node].input[1] = writer.weight(site.weight, site.axis, site.block)
    products = {name for site in sites for name in nodes[site.node].output}
    writer.finish()
    keep_biases_apart(copy, products)
    return Quantized(copy, len(sites), len(every) - len(sites))


def _scales(limits: Array) -> NDArray[np.float32]:
    """Scales that are exact in FP16 where it has room, so that both variants of the graph share one set of integers."""
    scales = np.where(limits > 0, limits, 1.0).astype(np.float32)
    normal = (scales >= _SMALLEST_HALF) & (scales <= _LARGEST_HALF)
    return np.where(normal, np.where(normal, scales, 1.0).astype(np.float16).astype(np.float32), scales)


class _Writer:
    """Adds Q/DQ pairs to a model, each once."""

    def __init__(self, model: ModelProto) -> None:
        from onnx import numpy_helper

        self._graph = model.graph
        self._array = numpy_helper.to_array
        self._tensor = numpy_helper.from_array
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._done: set[str] = set()
        self._names = NodeNames(model)

    def activation(self, name: str, scale: float, block: str) -> str:
        """Name of ``name`` quantized and dequantized."""
        result = f"{name}__dequantized"
        if result not in self._done:
            self._constants(name, _scales(np.array(scale)), np.zeros((), np.int8))
            self._node("QuantizeLinear", name, f"{name}__quantized", block, name)
            self._node("DequantizeLinear", f"{name}__quantized", result, block, name)
            self._done.add(result)
        return result

    def weight(self, name: str, axis: int, block: str) -> str:
        """Name of weight ``name`` dequantized from INT8."""
        result = f"{name}__dequantized"
        if result not in self._done:
            array = self._array(self._weights[name])
            others = tuple(i for i in range(array.ndim) if i != axis)
            scale = _scales(np.abs(array).max(axis=others) / LEVELS)
            shape = [-1 if i == axis else 1 for i in range(array.ndim)]
            integers = np.clip(np.round(array / scale.reshape(shape)), -LEVELS, LEVELS).astype(np.int8)
            self._graph.initializer.append(self._tensor(integers, f"{name}__quantized"))
            self._constants(name, scale, np.zeros(scale.shape, np.int8))
            self._node("DequantizeLinear", f"{name}__quantized", result, block, name, axis=axis)
            self._done.add(result)
        return result

    def finish(self) -> None:
        """Put the nodes in order."""
        sort_nodes(self._graph)

    def _constants(self, name: str, scale: Array, zero: Array) -> None:
        self._graph.initializer.append(self._tensor(scale, f"{name}__scale"))
        self._graph.initializer.append(self._tensor(zero, f"{name}__zero"))

    def _node(self, kind: str, source: str, result: str, block: str, constants: str, **attributes: int) -> None:
        from onnx import helper

        inputs, name = [source, f"{constants}__scale", f"{constants}__zero"], self._names.new(block, kind)
        self._graph.node.append(helper.make_node(kind, inputs, [result], name=name, **attributes))
