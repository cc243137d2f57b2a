"""Inference backends, found by name; only the chosen one is imported."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from jetvla.runtime.backends.base import Backend, Engine, EngineOptions
from jetvla.runtime.errors import EngineError, JetvlaError
from jetvla.runtime.memory import find_gpu

__all__ = ["BACKENDS", "Backend", "Engine", "EngineOptions", "load_backend"]

# Each module has ``BACKEND``.
BACKENDS = {
    "tensorrt": "jetvla.runtime.backends.tensorrt",
    "onnxruntime": "jetvla.runtime.backends.onnxruntime",
    "null": "jetvla.runtime.backends.null",
}


def load_backend(name: str) -> Backend:
    """Import the backend ``name``; ``auto`` takes TensorRT where it and a CUDA device are there, else ONNX Runtime.

    Raises:
        EngineError: if there is none of that name.
        MissingDependency: if its library is not installed.
    """
    chosen = _best() if name == "auto" else name
    if chosen not in BACKENDS:
        raise EngineError(f"there is no backend {name!r}; choose from auto, {', '.join(BACKENDS)}")
    backend: Backend = import_module(BACKENDS[chosen]).BACKEND
    return backend


def _best() -> str:
    """The best one that may move a robot; ``null`` computes nothing and must never be it."""
    if find_spec("tensorrt") is None:
        return "onnxruntime"
    try:
        find_gpu()
    except JetvlaError:
        return "onnxruntime"
    return "tensorrt"
