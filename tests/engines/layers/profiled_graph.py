"""A real session of ONNX Runtime, profiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from jetvla.engines.graph import graph_spec
from jetvla.engines.layers.kernels import measured_shapes, place_kernels
from jetvla.engines.layers.layer import Placed
from jetvla.engines.layers.places import Places
from jetvla.runtime.backends import EngineOptions, load_backend
from jetvla.runtime.backends.base import LayerProfile

RUNS = 3


class Profiled:
    """A graph that ran :data:`RUNS` times, every token there.

    Attributes:
        placed: its kernels.
        blocks: row by node of the graph that ran.
    """

    def __init__(self, model: ModelProto, folder: Path) -> None:
        path = folder / "graph.onnx"
        onnx.save(model, path)
        graph = graph_spec(model, path.name)
        engine = load_backend("onnxruntime").open(path, graph, EngineOptions(threads=1, profile=folder))
        inputs = {name: np.ones(spec.shape, spec.dtype) for name, spec in graph.inputs.items()}
        for _ in range(RUNS):
            engine.infer(inputs)
        profile = engine.layer_profile()
        assert profile is not None
        assert profile.graph is not None
        self.profile: LayerProfile = profile
        self.rewritten = onnx.load(profile.graph, load_external_data=False)
        self.places = Places(model, measured_shapes(profile.layers, self.rewritten))
        self.placed: Placed = place_kernels(self.places, self.rewritten, profile.layers)
        rows = zip(profile.layers, self.placed.layers, strict=True)
        self.blocks = {times.name: layer.row for times, layer in rows}
