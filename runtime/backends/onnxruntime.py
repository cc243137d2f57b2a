"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetvla.runtime.backends.base import (
    Array,
    Backend,
    Engine,
    EngineOptions,
    LayerProfile,
    check_interface,
    spare_one_core,
)
from jetvla.runtime.backends.mapped import let_go
from jetvla.runtime.backends.onnxruntime_profile import layer_times
from jetvla.runtime.engine_key import Machine
from jetvla.runtime.errors import EngineError, MissingDependency
from jetvla.runtime.manifest import Dtype, GraphSpec, TensorSpec

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS = ["CPUExecutionProvider"]
_DTYPES: dict[str, Dtype] = {
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
}


def weights_file(path: Path) -> Path:
    """Where the builder puts the weights of the ONNX file ``path``, if it does not leave them inside."""
    return path.with_name(f"{path.name}.data")


def _library() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependency("ONNX Runtime", "the onnxruntime backend", "pip install onnxruntime") from error
    return onnxruntime


def _failures() -> tuple[type[Exception], ...]:
    """The classes that the library raises; they share no base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    own = [c for c in vars(native).values() if isinstance(c, type) and issubclass(c, Exception)]
    return (RuntimeError, *own)


def _session_options(options: EngineOptions, graph: GraphSpec) -> onnxruntime.SessionOptions:
    session = _library().SessionOptions()
    session.intra_op_num_threads = options.threads or spare_one_core()
    session.inter_op_num_threads = 1
    # Threads that wait for each other inside a step must spin, or a step of many small products takes 1.4 times as
    # long; between steps they need not.
    session.add_session_config_entry("session.intra_op.allow_spinning", "1")
    session.add_session_config_entry("session.force_spinning_stop", "0" if options.spinning else "1")
    session.log_severity_level = 3
    if options.profile is not None:
        session.enable_profiling = True
        session.profile_file_prefix = str(options.profile / graph.file)
        session.optimized_model_filepath = str(_rewritten(options.profile, graph))
        # Beside the graph, since a file of its kind holds no more than 2 GB.
        session.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", f"{graph.file}.weights"
        )
        session.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    if options.seldom:
        # Weights stay as they lie in their file, mapped and not copied; rewriting the graph would copy some again.
        session.add_session_config_entry("session.disable_prepacking", "1")
        session.graph_optimization_level = _library().GraphOptimizationLevel.ORT_ENABLE_BASIC
    return session


def _rewritten(folder: Path, graph: GraphSpec) -> Path:
    """Where a profiled session leaves the graph that it really runs."""
    return folder / f"{graph.file}.rewritten.onnx"


def _described(path: Path, arguments: list[onnxruntime.NodeArg]) -> dict[str, TensorSpec]:
    found = {}
    for argument in arguments:
        if argument.type not in _DTYPES or not all(isinstance(size, int) for size in argument.shape):
            raise EngineError(
                f"{path}: {argument.name} is {argument.type} {argument.shape}, and jetvla takes static "
                f"shapes of {', '.join(_DTYPES.values())}; build the bundle again"
            )
        found[argument.name] = TensorSpec(dtype=_DTYPES[argument.type], shape=tuple(argument.shape))
    return found


class _OnnxRuntimeEngine(Engine):
    def __init__(
        self, session: onnxruntime.InferenceSession, graph: GraphSpec, profile: Path | None, seldom_mapped: Path | None
    ) -> None:
        super().__init__(graph)
        self._session, self._profile, self._seldom_mapped = session, profile, seldom_mapped
        self._outputs = list(graph.outputs)
        self._failures = _failures()

    def _run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        try:
            arrays = self._session.run(self._outputs, inputs)
        except self._failures as error:
            raise EngineError(f"a step of {self.graph.file} failed: {error}") from error
        if self._seldom_mapped is not None:
            let_go(self._seldom_mapped)
        return dict(zip(self._outputs, arrays, strict=True))

    def layer_profile(self) -> LayerProfile | None:
        if self._profile is None:
            return None
        layers, runs_ms = layer_times(Path(self._session.end_profiling()))
        return LayerProfile(layers, runs_ms, _rewritten(self._profile, self.graph))


class _OnnxRuntimeBackend:
    name = "onnxruntime"
    runs_onnx = True

    def version(self) -> str:
        return str(_library().__version__)

    def machine(self) -> Machine:
        return Machine.here()

    def open(self, path: Path, graph: GraphSpec, options: EngineOptions) -> Engine:
        library = _library()
        try:
            session = library.InferenceSession(str(path), _session_options(options, graph), providers=PROVIDERS)
        except _failures() as error:
            raise EngineError(f"ONNX Runtime cannot load {path}: {error}") from error
        # The library moves to another provider without a word.
        if session.get_providers() != PROVIDERS:
            raise EngineError(f"ONNX Runtime runs {path} on {session.get_providers()}, not on {PROVIDERS}")
        check_interface(path, "input", graph.inputs, _described(path, session.get_inputs()))
        check_interface(path, "output", graph.outputs, _described(path, session.get_outputs()))
        # To look for mappings takes 25 ms: only where there are any, which is in large bundles.
        weights = weights_file(path)
        mapped = weights if options.seldom and weights.is_file() else None
        return _OnnxRuntimeEngine(session, graph, options.profile, mapped)


BACKEND: Backend = _OnnxRuntimeBackend()
