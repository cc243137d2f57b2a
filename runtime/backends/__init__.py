"""Inference backends, found by name; only the chosen one is imported."""

from __future__ import annotations

from importlib import import_module

from jetvla.runtime.backends.base import Backend, Engine, EngineOptions
from jetvla.runtime.errors import EngineError

__all__ = ["BACKENDS", "Backend", "Engine", "EngineOptions", "load_backend"]

# Each module has ``BACKEND``.
BACKENDS = {
    "onnxruntime": "jetvla.runtime.backends.onnxruntime",
    "null": "jetvla.runtime.backends.null",
}
# What ``auto`` may choose, best first. ``null`` computes nothing and must never be here.
_AUTO = ("onnxruntime",)


def load_backend(name: str) -> Backend:
    """Import the backend ``name``; ``auto`` takes the best one that may move a robot.

    Raises:
        EngineError: if there is none of that name.
        MissingDependency: if its library is not installed.
    """
    chosen = _AUTO[0] if name == "auto" else name
    if chosen not in BACKENDS:
        raise EngineError(f"there is no backend {name!r}; choose from auto, {', '.join(BACKENDS)}")
    backend: Backend = import_module(BACKENDS[chosen]).BACKEND
    return backend
