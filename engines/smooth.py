"""SmoothQuant (Xiao et al. 2022): large activation channels are moved into the weights that read them.

A LayerNorm's gain and bias are divided, channel by channel, by factors with which the rows of the weights after it
are multiplied. Both INT8 ranges then fit better, and no node is added. The factors are powers of two, so that not
one bit of the float32 function changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.ranges import ChannelMaxima
from jetvla.engines.passes import replace_nodes
from jetvla.engines.quantize import Site, find_sites
from jetvla.engines.runner import GraphRunner

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

ALPHA = 0.5
# Beyond it a channel is silent or its weights are zero, as far as calibration tells; and FP16 has room for it.
_LARGEST_EXPONENT = 10


class Foldable(NamedTuple):
    """A LayerNormalization all of whose readers are sites."""

    output: str
    sites: tuple[Site, ...]


def find_foldable(model: ModelProto) -> list[Foldable]:
    """Every LayerNormalization over the last axis that nothing but sites reads, in the order of the graph."""
    constants = {tensor.name for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.name)
    sites: dict[str, list[Site]] = {}
    for site in find_sites(model):
        sites.setdefault(site.activation, []).append(site)
    kinds = {node.name: node for node in model.graph.node}
    found = []
    for node in model.graph.node:
        own = sites.get(node.output[0], [])
        if node.op_type == "LayerNormalization" and own and constants.issuperset(n for n in node.input[1:] if n):
            only = readers[node.output[0]] == {site.node for site in own} and node.output[0] not in outputs
            if only and _over_last_axis(node) and all(_contracts_last_axis(kinds[site.node]) for site in own):
                found.append(Foldable(node.output[0], tuple(own)))
    return found


def _over_last_axis(norm: NodeProto) -> bool:
    return all(a.i == -1 for a in norm.attribute if a.name == "axis")


def _contracts_last_axis(node: NodeProto) -> bool:
    return node.op_type != "Conv" and not any(a.name == "transA" and a.i == 1 for a in node.attribute)


def collect_maxima(model: ModelProto, samples: Iterable[Mapping[str, Any]]) -> dict[str, NDArray[np.float32]]:
    """Largest |x| of each channel, float32 [C], of every foldable output; one sample in memory at a time."""
    names = [foldable.output for foldable in find_foldable(model)]
    runner = GraphRunner.of_model(model, extra_outputs=names)
    maxima = {name: ChannelMaxima() for name in names}
    for sample in samples:
        tensors = runner.run(sample)
        for name in names:
            maxima[name].add(tensors[name])
    return {name: seen.largest for name, seen in maxima.items() if seen.largest is not None}


def smooth(model: ModelProto, maxima: Mapping[str, NDArray[np.float32]], alpha: float = ALPHA) -> ModelProto:
    """``model`` with :func:`smoothing_factors` folded in: it computes the same, with channels that differ less."""
    return fold(model, smoothing_factors(model, maxima, alpha))


def smoothing_factors(
    model: ModelProto, maxima: Mapping[str, NDArray[np.float32]], alpha: float = ALPHA
) -> dict[str, NDArray[np.float32]]:
    """What to divide each channel of each foldable output by, float32 [C].

    Channel j's factor is max|X_j|^alpha / max|W_j|^(1-alpha), rounded to a power of two; 1 if either is zero.

    Args:
        model: float32.
        maxima: see :func:`collect_maxima`; an output without any is left alone.
        alpha: how much of the difficulty goes into the weights, 0 to 1.

    Raises:
        ValueError: ``alpha`` is outside 0 to 1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must be from 0 to 1")
    weights = _Weights(model)
    factors = {}
    for foldable in find_foldable(model):
        if foldable.output in maxima:
            rows = np.max([weights.row_maxima(site) for site in foldable.sites], axis=0)
            factors[foldable.output] = _factors(maxima[foldable.output], rows, alpha)
    return factors


def _factors(activations: NDArray[np.float32], weights: NDArray[np.float32], alpha: float) -> NDArray[np.float32]:
    silent = (activations == 0) | (weights == 0)
    x, w = (np.log2(np.where(silent, 1, values)) for values in (activations, weights))
    exponents = np.clip(np.round(alpha * x - (1 - alpha) * w), -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
    return np.where(silent, 1, np.exp2(exponents)).astype(np.float32)


def fold(model: ModelProto, factors: Mapping[str, NDArray[np.float32]]) -> ModelProto:
    """A copy of ``model`` whose foldable outputs are divided by ``factors``, [C] each, and their readers' weight
    rows multiplied; ValueError if one is not foldable."""
    copy = type(model)()
    copy.CopyFrom(model)
    foldable = {one.output: one for one in find_foldable(copy)}
    if unknown := set(factors) - set(foldable):
        raise ValueError(f"not the output of a LayerNormalization that only weighted nodes read: {sorted(unknown)}")
    nodes, weights = {node.name: node for node in copy.graph.node}, _Weights(copy)
    norms = {node.output[0]: node for node in copy.graph.node if node.op_type == "LayerNormalization"}
    for output, factor in factors.items():
        norm = norms[output]
        for index in range(1, len(norm.input)):
            if norm.input[index]:
                norm.input[index] = weights.add(norm.input[index], output, np.reciprocal(factor))
        for site in foldable[output].sites:
            scaled = factor if weights.row_axis(site) == 1 else factor[:, None]
            nodes[site.node].input[1] = weights.add(site.weight, output, scaled)
    replace_nodes(copy, list(copy.graph.node))
    return copy


class _Weights:
    """The constants of a model, and products of them, which get names of their own: others may read the original."""

    def __init__(self, model: ModelProto) -> None:
        self._graph = model.graph
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    def row_axis(self, site: Site) -> int:
        """The axis of a site's weight that meets the activation's channels: the one that is not the output's."""
        return len(self._tensors[site.weight].dims) - 1 - site.axis

    def row_maxima(self, site: Site) -> NDArray[np.float32]:
        """Largest |w| of each activation channel's row, float32 [C]."""
        from onnx import numpy_helper

        array: NDArray[np.float32] = numpy_helper.to_array(self._tensors[site.weight])
        return np.asarray(np.abs(array).max(axis=site.axis))

    def add(self, name: str, why: str, factor: NDArray[np.float32]) -> str:
        """Name of weight ``name`` times ``factor``, stored once for every ``why``."""
        from onnx import numpy_helper

        result = f"{name}__for_{why}"
        if result not in self._tensors:
            array = numpy_helper.to_array(self._tensors[name]) * factor
            self._tensors[result] = numpy_helper.from_array(np.ascontiguousarray(array, np.float32), result)
            self._graph.initializer.append(self._tensors[result])
        return result
