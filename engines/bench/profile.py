"""Where the time of a step goes in ONNX Runtime: matrix multiplication, or what is around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.backends.base import LayerTimes
from jetvla.runtime.backends.onnxruntime_profile import layer_times

_STEPS = 20
# Kernels that multiply matrices; attention's also hold its softmax.
PRODUCTS = ("MatMul", "Gemm", "Conv", "QLinear", "Attention")


@dataclass(frozen=True)
class TimeShare:
    """Milliseconds of one step, by kind of kernel, most first.

    Attributes:
        kernels: (kernel, ms).
        products: ms of those that multiply matrices.
    """

    kernels: tuple[tuple[str, float], ...]
    products: float

    @property
    def rest(self) -> tuple[tuple[str, float], ...]:
        """The kernels that multiply no matrices."""
        return tuple((name, ms) for name, ms in self.kernels if not _multiplies(name))

    @property
    def total(self) -> float:
        """Milliseconds of all kernels."""
        return sum(ms for _, ms in self.kernels)


def time_share(step: Path, feed: Mapping[str, NDArray[Any]], threads: int) -> TimeShare:
    """Profile ``step`` on one input, after one run to warm up."""
    import onnxruntime

    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "step")
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        session = onnxruntime.InferenceSession(str(step), options, providers=["CPUExecutionProvider"])
        inputs = {value.name: feed[value.name] for value in session.get_inputs()}
        for _ in range(_STEPS + 1):
            session.run(None, inputs)
        layers, _ = layer_times(Path(session.end_profiling()))
    return _summed(layers)


def _summed(layers: tuple[LayerTimes, ...]) -> TimeShare:
    times: dict[str, float] = defaultdict(float)
    for layer in layers:
        # The first run allocates.
        times[layer.kind] += float(np.mean(layer.ms[1:]))
    kernels = tuple(sorted(times.items(), key=lambda item: -item[1]))
    return TimeShare(kernels, sum(ms for name, ms in kernels if _multiplies(name)))


def _multiplies(kernel: str) -> bool:
    return any(part in kernel for part in PRODUCTS)
