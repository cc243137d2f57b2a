"""Times of TensorRT's layers, as its profiler reports them.

A layer is what TensorRT made of some nodes of the graph; :mod:`jetvla.engines.layers.plans` says of which.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from jetvla.runtime.backends.base import LayerProfile, LayerTimes

if TYPE_CHECKING:
    import tensorrt as trt


class LayerClock:
    """Puts a clock between the layers of ``context``, whose steps must be queued as they are, not replayed."""

    def __init__(self, context: trt.IExecutionContext) -> None:
        self._context: trt.IExecutionContext = context
        self._runs: list[dict[str, float]] = []
        self._runs_ms: list[float] = []
        # Held here, since the context does not keep it alive.
        self._profiler = _profiler(self._runs)
        context.profiler = self._profiler
        # The call that queues a step would otherwise wait for it.
        context.enqueue_emits_profile = False

    def read(self, run_ms: float) -> bool:
        """Take the times of the last step, which is done and took ``run_ms``; False if TensorRT has none."""
        self._runs.append(defaultdict(float))
        self._runs_ms.append(run_ms)
        return bool(self._context.report_to_profiler())

    def profile(self) -> LayerProfile:
        """All that was read."""
        names = dict.fromkeys(name for run in self._runs for name in run)
        layers = tuple(LayerTimes(name, "", (), tuple(run.get(name, 0.0) for run in self._runs)) for name in names)
        return LayerProfile(layers, tuple(self._runs_ms), None)


def _profiler(runs: list[dict[str, float]]) -> trt.IProfiler:
    """Adds what is reported to the last of ``runs``: a layer may come several times in a run."""
    import tensorrt as trt

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            runs[-1][layer_name] += ms

    return Profiler()
