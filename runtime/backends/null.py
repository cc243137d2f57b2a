"""Computes nothing: zeros of the right shape, to test and to measure all that is around an engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jetvla.runtime.backends.base import Array, Backend, Engine, EngineOptions
from jetvla.runtime.engine_key import Machine
from jetvla.runtime.manifest import GraphSpec


class _NullEngine(Engine):
    def _run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: np.zeros(spec.shape, spec.dtype) for name, spec in self.graph.outputs.items()}


class _NullBackend:
    name = "null"
    runs_onnx = True

    def version(self) -> str:
        return "1"

    def machine(self) -> Machine:
        return Machine.here()

    def open(self, path: Path, graph: GraphSpec, options: EngineOptions) -> Engine:
        return _NullEngine(graph)


BACKEND: Backend = _NullBackend()
