"""A stand-in for the module ``tensorrt`` in tests: it writes down what is asked of it, and builds nothing.

Put it in place with :func:`installed`. A plan holds the path of its ONNX file, and what an engine computes is the
test's to say. tests/contract holds names and signatures below against the real ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, IntEnum
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.backends.fake_tensorrt_builder import (
    PLAN,
    Builder,
    BuilderFlag,
    INetworkDefinition,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    OnnxParser,
    ProfilingVerbosity,
)
from jetvla.runtime.manifest import GraphSpec
from jetvla.runtime.memory import Gpu
from jetvla.runtime.memory.fake import FakeMemory

Array = NDArray[Any]


class DataType(Enum):
    UINT8 = "uint8"
    INT64 = "int64"
    FLOAT = "float32"
    HALF = "float16"
    BOOL = "bool"
    INT8 = "int8"


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class LayerInformationFormat(IntEnum):
    JSON = 1


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    pass


class IProfiler:
    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise NotImplementedError


_KINDS = (
    DataType,
    TensorIOMode,
    NetworkDefinitionCreationFlag,
    MemoryPoolType,
    ProfilingVerbosity,
    BuilderFlag,
    LayerInformationFormat,
    ILogger,
    IProgressMonitor,
    IProfiler,
)


class FakeTensorRt(ModuleType):
    """The module.

    Args:
        graphs: interface by name of the ONNX file; others cannot be parsed.
        compute: from the ONNX file's path and the inputs to the outputs.
        memory: where addresses point to.

    Attributes:
        calls: what was asked, in order.
        refuse: names of calls that answer False or None, as TensorRT does when it fails.
        interrupt: whether Ctrl-C comes in the middle of every build.
        layers: names and milliseconds that every step reports to a profiler.
    """

    def __init__(
        self,
        graphs: Mapping[str, GraphSpec],
        compute: Callable[[Path, Mapping[str, Array]], Mapping[str, Array]],
        memory: FakeMemory,
    ) -> None:
        super().__init__("tensorrt")
        self.__version__ = "10.3.0"
        for kind in _KINDS:
            setattr(self, kind.__name__, kind)
        self.graphs, self.compute, self.memory = dict(graphs), compute, memory
        self.calls: list[str] = []
        self.refuse: set[str] = set()
        self.interrupt = False
        self.layers: tuple[tuple[str, float], ...] = ()
        self.loggers: list[ILogger] = []

    def Builder(self, logger: ILogger) -> Builder:  # noqa: N802
        self.loggers.append(logger)
        return Builder(self)

    def OnnxParser(self, network: INetworkDefinition, logger: ILogger) -> OnnxParser:  # noqa: N802
        return OnnxParser(self, network)

    def Runtime(self, logger: ILogger) -> Runtime:  # noqa: N802
        self.loggers.append(logger)
        return Runtime(self)

    def answers(self, call: str) -> bool:
        """Write down ``call``; False if it is to fail, which is logged."""
        self.calls.append(call)
        if call not in self.refuse:
            return True
        for logger in self.loggers[-1:]:
            logger.log(ILogger.Severity.ERROR, f"{call} refused")
        return False


class Runtime:
    def __init__(self, trt: FakeTensorRt) -> None:
        self._trt = trt

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if not self._trt.answers("deserialize") or not serialized_engine.startswith(PLAN):
            return None
        return ICudaEngine(self._trt, Path(os.fsdecode(serialized_engine[len(PLAN) :])))


class EngineInspector:
    def get_engine_information(self, format: LayerInformationFormat) -> str:
        return '{"Layers": []}'


class ICudaEngine:
    def __init__(self, trt: FakeTensorRt, source: Path) -> None:
        self._trt, self._source, graph = trt, source, trt.graphs[source.name]
        self._inputs, self._specs = graph.inputs, {**graph.inputs, **graph.outputs}
        self.num_io_tensors = len(self._specs)

    def get_tensor_name(self, index: int) -> str:
        return list(self._specs)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(self._specs[name].dtype)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._specs[name].shape

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector()

    def create_execution_context(self) -> IExecutionContext | None:
        if not self._trt.answers("create_execution_context"):
            return None
        return IExecutionContext(self._trt, self._source)


class IExecutionContext:
    def __init__(self, trt: FakeTensorRt, source: Path) -> None:
        self._trt, self._source, self._graph = trt, source, trt.graphs[source.name]
        self._addresses: dict[str, int] = {}
        self.profiler: IProfiler | None = None
        self.enqueue_emits_profile = True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        return self._trt.answers("set_input_shape")

    def infer_shapes(self) -> list[str]:
        return [] if self._trt.answers("infer_shapes") else list(self._graph.inputs)[:1]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return self._trt.answers("set_tensor_address")

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == self._trt.memory.stream, "queued on another stream"
        if not self._trt.answers("execute_async_v3"):
            return False
        self._trt.memory.queue("execute", self._execute)
        return True

    def report_to_profiler(self) -> bool:
        if self.profiler is None or self.enqueue_emits_profile or not self._trt.answers("report_to_profiler"):
            return False
        for name, ms in self._trt.layers:
            self.profiler.report_layer_time(name, ms)
        return True

    def _execute(self) -> None:
        inputs = {
            name: self._trt.memory.buffers[self._addresses[name]].device.view(spec.dtype).reshape(spec.shape)
            for name, spec in self._graph.inputs.items()
        }
        for name, array in self._trt.compute(self._source, inputs).items():
            device = self._trt.memory.buffers[self._addresses[name]].device
            np.copyto(device, np.ascontiguousarray(array).reshape(-1).view(np.uint8))


@cache
def _session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run_onnx(path: Path, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """What ONNX Runtime computes of ``path``: real numbers for a fake engine."""
    session = _session(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


@contextmanager
def installed(trt: FakeTensorRt) -> Iterator[FakeTensorRt]:
    """Put ``trt``, its memory and a GPU in the place of the real ones."""
    from jetvla.runtime.backends import tensorrt

    gpu = Gpu("Fake Orin", "8.7", "12.6")
    with (
        patch.dict(sys.modules, tensorrt=trt),
        patch.object(tensorrt, "find_gpu", lambda: gpu),
        patch.object(tensorrt, "open_memory", lambda name: trt.memory),
    ):
        tensorrt.logger.cache_clear()
        tensorrt._runtime.cache_clear()
        yield trt
    tensorrt.logger.cache_clear()
    tensorrt._runtime.cache_clear()
