"""The file that ONNX Runtime writes when a session is profiled: events as in Chrome's trace format, times in us.

Of a run there is one ``model_run``, and for each kernel that ran in it one event of category ``Node`` whose name is
the node's and ends in ``_kernel_time``.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from jetvla.runtime.backends.base import LayerTimes
from jetvla.runtime.errors import EngineError

Event = dict[str, Any]
Shapes = tuple[tuple[int, ...], ...]
_KERNEL = "_kernel_time"
_US_PER_MS = 1e3


def layer_times(path: Path) -> tuple[tuple[LayerTimes, ...], tuple[float, ...]]:
    """Times of every node, and of every run as a whole, milliseconds.

    Raises:
        EngineError: if the file is not as described, or a kernel ran in no run.
    """
    try:
        events = json.loads(path.read_text(encoding="utf-8"))
        return _layers(events)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"{path} is no profile as jetvla knows ONNX Runtime's ({error!r}); install a version of onnxruntime that "
            "jetvla's constraints.txt names"
        ) from error


def _layers(events: list[Event]) -> tuple[tuple[LayerTimes, ...], tuple[float, ...]]:
    runs = [event for event in events if event["name"] == "model_run"]
    times: list[Counter[str]] = [Counter() for _ in runs]
    first: dict[str, Event] = {}
    kernels = sorted((e for e in events if e["cat"] == "Node" and e["name"].endswith(_KERNEL)), key=lambda e: e["ts"])
    for event in kernels:
        name = event["name"].removesuffix(_KERNEL)
        first.setdefault(name, event)
        times[_run_of(event, runs)][name] += event["dur"]
    layers = tuple(
        LayerTimes(
            name,
            event["args"]["op_name"],
            _shapes(event),
            tuple(counted[name] / _US_PER_MS for counted in times),
        )
        for name, event in first.items()
    )
    return layers, tuple(run["dur"] / _US_PER_MS for run in runs)


def _run_of(event: Event, runs: list[Event]) -> int:
    for number, run in enumerate(runs):
        if run["ts"] <= event["ts"] <= run["ts"] + run["dur"]:
            return number
    raise ValueError(f"{event['name']} ran outside of every run")


def _shapes(event: Event) -> Shapes:
    """Of the outputs, each written as ``{"float": [1, 3]}``."""
    return tuple(tuple(shape) for output in event["args"].get("output_type_shape", []) for shape in output.values())
