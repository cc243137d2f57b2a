"""TensorRT 10.3 to 11 on an NVIDIA GPU: runs the plans that ``jetvla compile`` made, and never builds any.

One code path for all versions: named tensors, ``execute_async_v3``, and nothing that a later version removed;
tests/contract holds every attribute and keyword below against the real bindings.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jetvla.runtime.backends.base import Array, Backend, Engine, EngineOptions, LayerProfile, check_interface
from jetvla.runtime.backends.tensorrt_layers import LayerClock
from jetvla.runtime.engine_key import Machine
from jetvla.runtime.errors import EngineError, MissingDependency
from jetvla.runtime.manifest import GraphSpec, TensorSpec
from jetvla.runtime.memory import Buffer, DeviceMemory, find_gpu, open_memory
from jetvla.runtime.memory.driver import JETSON
from jetvla.runtime.memory.replay import Replay

if TYPE_CHECKING:
    import tensorrt as trt

log = logging.getLogger("jetvla.engine")

OLDEST = (10, 3)
# What the library complained about last; its calls return False or None and say nothing else.
_complaints: deque[str] = deque(maxlen=5)
# No kernel writes this bit pattern to all of a float output: it is a NaN that no operation makes.
_UNWRITTEN = 0xFF


def library() -> Any:
    """The module ``tensorrt``.

    Raises:
        MissingDependency: if it is not installed.
        EngineError: if it cannot be loaded, or is too old.
    """
    try:
        import tensorrt as trt
    except ModuleNotFoundError as error:
        raise MissingDependency("TensorRT", "the tensorrt backend", _install()) from error
    except (ImportError, OSError) as error:
        raise EngineError(f"TensorRT's libraries cannot be loaded ({error}); install: {_install()}") from error
    if tuple(int(part) for part in trt.__version__.split(".")[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise EngineError(f"this is TensorRT {trt.__version__}, and jetvla needs {oldest} or newer: {_install()}")
    return trt


def _install() -> str:
    if JETSON.is_file():
        return "sudo apt install python3-libnvinfer (a virtual environment needs --system-site-packages to see it)"
    return "pip install tensorrt"


@cache
def logger() -> trt.ILogger:
    """TensorRT's log as part of ours. Asks for a CUDA device first: without one, what takes a logger may crash.

    Raises:
        MissingDependency, EngineError: if there is no CUDA device or no TensorRT.
    """
    find_gpu()
    trt = library()
    levels = {
        trt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.Severity.ERROR: logging.ERROR,
        trt.ILogger.Severity.WARNING: logging.WARNING,
    }

    class Log(trt.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            level = levels.get(severity, logging.DEBUG)
            if level == logging.ERROR:
                _complaints.append(msg)
            log.log(level, "TensorRT: %s", msg)

    return Log()


def complaint() -> str:
    """What TensorRT complained about since the last call."""
    said = "; ".join(_complaints)
    _complaints.clear()
    return said or "TensorRT does not say why"


class _TensorRtEngine(Engine):
    """One execution context with buffers of its own, allocated here and never again.

    With ``profile`` steps are queued piece by piece, and each layer's time is asked for after each.
    """

    def __init__(self, engine: trt.ICudaEngine, graph: GraphSpec, memory: DeviceMemory, profile: bool = False) -> None:
        super().__init__(graph)
        self._memory = memory
        self._clock: LayerClock | None = None
        self._context: trt.IExecutionContext = engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"{graph.file}: no execution context can be made: {complaint()}")
        self._inputs = {name: memory.allocate(_nbytes(spec)) for name, spec in graph.inputs.items()}
        self._outputs = {name: memory.allocate(_nbytes(spec)) for name, spec in graph.outputs.items()}
        self._arrays = {
            name: buffer.host.view(spec.dtype).reshape(spec.shape) for name, spec, buffer in self._tensors()
        }
        self._bind()
        self._began, self._ended = memory.event(), memory.event()
        self._queue = Replay(memory, self._enqueue)
        # The first run allocates, and the graph is captured: not in the robot's first step.
        self._run({name: np.zeros(spec.shape, spec.dtype) for name, spec in graph.inputs.items()})
        if profile:
            self._clock = LayerClock(self._context)

    @property
    def is_graph(self) -> bool:
        """Whether steps are replayed as one CUDA graph."""
        return self._queue.is_graph

    def gpu_ms(self) -> float:
        return self._ended.ms_since(self._began)

    def layer_profile(self) -> LayerProfile | None:
        return None if self._clock is None else self._clock.profile()

    def _tensors(self) -> list[tuple[str, TensorSpec, Buffer]]:
        specs = {**self.graph.inputs, **self.graph.outputs}
        buffers = {**self._inputs, **self._outputs}
        return [(name, spec, buffers[name]) for name, spec in specs.items()]

    def _bind(self) -> None:
        for name, spec in self.graph.inputs.items():
            if not self._context.set_input_shape(name, spec.shape):
                raise EngineError(f"{self.graph.file}: input {name} cannot be {list(spec.shape)}: {complaint()}")
        if unknown := self._context.infer_shapes():
            raise EngineError(f"{self.graph.file}: TensorRT needs more to know the shape of {', '.join(unknown)}")
        for name, _, buffer in self._tensors():
            if not self._context.set_tensor_address(name, buffer.address):
                raise EngineError(f"{self.graph.file}: {name} cannot be bound to memory: {complaint()}")

    def _run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        for name, array in inputs.items():
            np.copyto(self._arrays[name], array)
        for buffer in self._outputs.values():
            buffer.host.fill(_UNWRITTEN)
        try:
            self._began.record()
            self._submit()
            self._ended.record()
            self._memory.synchronize()
            if self._clock is not None and not self._clock.read(self.gpu_ms()):
                raise EngineError(f"TensorRT does not tell the times of its layers: {complaint()}")
        except EngineError as error:
            raise EngineError(f"a step of {self.graph.file} failed: {error}") from error
        return {name: self._written(name) for name in self._outputs}

    def _submit(self) -> None:
        if self._clock is None:
            self._queue(tuple((buffer.address, spec.shape) for _, spec, buffer in self._tensors()))
        else:
            self._enqueue()

    def _enqueue(self) -> None:
        # Outputs too: what a step does not write is then no output of the step before, on the device either.
        for buffer in (*self._inputs.values(), *self._outputs.values()):
            buffer.upload()
        if not self._context.execute_async_v3(stream_handle=self._memory.stream):
            raise EngineError(complaint())
        for buffer in self._outputs.values():
            buffer.download()

    def _written(self, name: str) -> Array:
        """A copy of an output, after a look at whether the step wrote it."""
        array, host = self._arrays[name], self._outputs[name].host
        if array.dtype.kind == "f" and host[0] == _UNWRITTEN and (host == _UNWRITTEN).all():
            raise EngineError(f"a step of {self.graph.file} failed: it did not write its output {name}")
        return np.array(array)


def _nbytes(spec: TensorSpec) -> int:
    return int(np.prod(spec.shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize


def _described(path: Path, engine: trt.ICudaEngine) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    """Inputs and outputs of a loaded engine."""
    trt = library()
    dtypes = {
        trt.DataType.UINT8: "uint8",
        trt.DataType.INT64: "int64",
        trt.DataType.FLOAT: "float32",
        trt.DataType.HALF: "float16",
        trt.DataType.BOOL: "bool",
    }
    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        dtype, shape = engine.get_tensor_dtype(name), tuple(engine.get_tensor_shape(name))
        if dtype not in dtypes or min(shape, default=0) < 0:
            raise EngineError(
                f"{path}: {name} is {dtype} {list(shape)}, and jetvla takes static shapes of "
                f"{', '.join(dtypes.values())}; build the bundle again"
            )
        kind = inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs
        kind[name] = TensorSpec.model_validate({"dtype": dtypes[dtype], "shape": shape})
    return inputs, outputs


@cache
def _runtime() -> trt.Runtime:
    """One for the process: it must outlive its engines."""
    return library().Runtime(logger())


class _TensorRtBackend:
    name = "tensorrt"
    runs_onnx = False

    def version(self) -> str:
        return str(library().__version__)

    def machine(self) -> Machine:
        gpu = find_gpu()
        return replace(Machine.here(), gpu=gpu.name, compute_capability=gpu.compute_capability)

    def open(self, path: Path, graph: GraphSpec, options: EngineOptions) -> Engine:
        if path.suffix == ".onnx":
            raise EngineError(f"TensorRT does not run {path} as it is; compile the bundle first: jetvla compile")
        runtime: trt.Runtime = _runtime()
        memory = open_memory(options.memory)
        try:
            plan = path.read_bytes()
        except OSError as error:
            raise EngineError(f"TensorRT cannot load {path}: {error}") from error
        engine: trt.ICudaEngine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineError(
                f"TensorRT cannot load {path}: {complaint()}; plans are tied to TensorRT's version and the device, so "
                "compile the bundle on this machine: jetvla compile"
            )
        inputs, outputs = _described(path, engine)
        check_interface(path, "input", graph.inputs, inputs)
        check_interface(path, "output", graph.outputs, outputs)
        return _TensorRtEngine(engine, graph, memory, options.profile is not None)


BACKEND: Backend = _TensorRtBackend()
