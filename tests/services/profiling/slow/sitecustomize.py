"""Makes a stage 20 ms slower, in a daemon and in the engine alone, from outside: with this folder in PYTHONPATH and
JETVLA_TEST_SLOW=STAGE."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

DELAY_S = 0.02
# A tick that is woken 20 ms late comes 30 ms after the one before, and at that the guard itself stops the robot.
DELAYS_S = {"wake": 0.015}
SLOW = "JETVLA_TEST_SLOW"


def _always(owner: Any, result: Any) -> bool:
    return True


def _runs(graph: str) -> Callable[[Any, Any], bool]:
    return lambda engine, result: engine.graph.file.startswith(graph)


def _has_chunk(link: Any, events: Any) -> bool:
    return any(type(event).__name__ == "ChunkMessage" for event in events)


# By stage: the process, the method that its time is spent in, and whether to sleep after a call.
PLACES: dict[str, tuple[str, str, str, str, Callable[[Any, Any], bool]]] = {
    "capture": ("policy", "jetvla.runtime.cameras.paced", "PacedCamera", "read", _always),
    "preprocess": ("policy", "jetvla.runtime.preprocess", "Resizer", "__call__", _always),
    "tokenize": ("policy", "jetvla.runtime.tokenizer", "Tokenizer", "encode", _always),
    "language": ("policy", "jetvla.runtime.backends.base", "Engine", "infer", _runs("language")),
    "step": ("policy", "jetvla.runtime.backends.base", "Engine", "infer", _runs("step")),
    "link": ("guard", "jetvla.runtime.link.server", "GuardLink", "poll", _has_chunk),
    "wake": ("guard", "jetvla.runtime.clock", "MonotonicClock", "sleep_until_ns", _always),
    "guard": ("guard", "jetvla.services.recording.guard", "NotedGuard", "tick", _always),
    "publish": ("guard", "jetvla.runtime.sinks.log", "LogSink", "publish", _always),
}


def _slow_down(stage: str) -> None:
    process, module, owner, method, when = PLACES[stage]
    daemon = any(word.startswith("jetvla.services") and process in word for word in sys.orig_argv)
    # The engine in a process of its own is the policy's.
    if not daemon and not (process == "policy" and "--multiprocessing-fork" in sys.orig_argv):
        return
    kind = getattr(import_module(module), owner)
    real = getattr(kind, method)

    def slowed(self: Any, *arguments: Any, **keywords: Any) -> Any:
        result = real(self, *arguments, **keywords)
        if when(self, result):
            time.sleep(DELAYS_S.get(stage, DELAY_S))
        return result

    setattr(kind, method, slowed)


if stage := os.environ.get(SLOW):
    _slow_down(stage)
