"""Where a graph leaves the range of FP16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.graph import block_of, tensor_types
from jetvla.engines.runner import GraphRunner
from jetvla.runtime.errors import EngineError

if TYPE_CHECKING:
    from onnx import ModelProto

HALF_MAX = float(np.finfo(np.float16).max)


def first_overflow(single: ModelProto, half: ModelProto, samples: Sequence[Mapping[str, NDArray[Any]]]) -> str:
    """The first block whose result is beyond FP16 in FP32, and how large that is; empty if none is on ``samples``.

    Args:
        single: the graph in FP32.
        half: the same with its FP16 body, which says what is in FP16.
    """
    from onnx import TensorProto

    types, known = tensor_types(half), {name for node in single.graph.node for name in node.output}
    results = {
        name: block_of(node.name)
        for node in half.graph.node
        for name in node.output
        if name in known and types[name][0] == TensorProto.FLOAT16
    }
    runner = GraphRunner.of_model(single, tuple(results))
    try:
        for sample in samples:
            found = runner.run(sample)
            for name, block in results.items():
                if (largest := float(np.abs(found[name]).max(initial=0.0))) > HALF_MAX:
                    return f"{block or 'what is in no block'} reaches {largest:.3g}, and FP16 ends at {HALF_MAX:.0f}"
    except EngineError:
        # It is not finite in FP32 either, which is no matter of FP16.
        return ""
    return ""
