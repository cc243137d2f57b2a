"""Runs ONNX graphs on this machine to judge them. The device's own engines are in ``runtime.backends``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import EngineError

if TYPE_CHECKING:
    from onnx import ModelProto

Array = NDArray[Any]

# Optimisations that would take out what a graph means: see :func:`jetvla.engines.half.rounded`.
_KEPT = ["EliminateIdentity"]


class GraphRunner:
    """A graph in ONNX Runtime on the CPU."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Idle threads that spin starve every other program of this machine, PyTorch's own threads first.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path),
                sess_options=options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_KEPT,
            )
        except Exception as error:  # the library raises no narrower class
            raise EngineError(f"ONNX Runtime cannot load {path.name}: {error}") from error
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self.outputs = tuple(value.name for value in self._session.get_outputs())

    @classmethod
    def of_model(cls, model: ModelProto, extra_outputs: Sequence[str] = ()) -> GraphRunner:
        """Of a model in memory, which also returns the inner tensors ``extra_outputs``."""
        from onnx import ValueInfoProto

        from jetvla.engines.graph import save_graph

        opened = type(model)()
        opened.CopyFrom(model)
        present = {value.name for value in (*model.graph.output, *model.graph.input)}
        opened.graph.output.extend(ValueInfoProto(name=n) for n in extra_outputs if n not in present)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "graph.onnx"
            save_graph(opened, path)
            return cls(path)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name; EngineError if one is not finite. Inputs that the graph lacks are ignored."""
        results = self._session.run(None, {name: inputs[name] for name in self.inputs})
        outputs = dict(zip(self.outputs, results, strict=True))
        bad = [name for name, array in outputs.items() if not np.isfinite(array).all()]
        if bad:
            raise EngineError(f"not finite: {', '.join(bad)}; numbers overflow on the way, so that nothing may run this graph")
        return outputs
