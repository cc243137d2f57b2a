"""Runs ONNX graphs on this machine to judge them. The device's own engines are in ``runtime.backends``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from onnx import ModelProto

Array = NDArray[Any]

# Optimisations that would take out what a graph means: see :func:`jetvla.engines.half.rounded`.
_KEPT = ["EliminateIdentity"]


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that goes with the block; ConfigError if the disk refuses what is written to it."""
    try:
        with tempfile.TemporaryDirectory(prefix="jetvla-") as folder:
            yield Path(folder)
    except OSError as error:
        # No EngineError, which would be a verdict on the graph.
        raise ConfigError(
            f"cannot write temporary files to {tempfile.tempdir}: {error.strerror or error}; make room there, or name "
            "another folder by the environment variable TMPDIR"
        ) from error


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
        with temporary_folder() as folder:
            save_graph(opened, folder / "graph.onnx")
            return cls(folder / "graph.onnx")

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name; EngineError if one is not finite. Inputs that the graph lacks are ignored."""
        results = self._session.run(None, {name: inputs[name] for name in self.inputs})
        outputs = dict(zip(self.outputs, results, strict=True))
        bad = [name for name, array in outputs.items() if not np.isfinite(array).all()]
        if bad:
            raise EngineError(
                f"not finite: {', '.join(bad)}; numbers overflow on the way, so that nothing may run this graph"
            )
        return outputs
