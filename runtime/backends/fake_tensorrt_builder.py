"""The half of the fake TensorRT that plays the builder; see fake_tensorrt.py."""

from __future__ import annotations

import os
import signal
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jetvla.runtime.backends.fake_tensorrt import FakeTensorRt

# What a plan begins with; the path of its ONNX file follows.
PLAN = b"fake plan of "


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class MemoryPoolType(IntEnum):
    WORKSPACE = 0


class ProfilingVerbosity(IntEnum):
    DETAILED = 2


class BuilderFlag(IntEnum):
    TF32 = 8


class INetworkDefinition:
    source: Path


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class IBuilderConfig:
    def __init__(self, trt: FakeTensorRt) -> None:
        self._trt = trt
        self.builder_optimization_level = -1
        self.profiling_verbosity: Any = None
        self.progress_monitor: Any = None
        self.limits: dict[MemoryPoolType, int] = {}
        self._timings = ITimingCache(b"")

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.limits[pool] = pool_size

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._trt.calls.append(f"clear {flag.name}")

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache.content and not self._trt.answers("set_timing_cache"):
            return False
        self._timings = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        return self._timings


class Builder:
    def __init__(self, trt: FakeTensorRt) -> None:
        self._trt = trt

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        self._trt.calls.append(f"create_network {flags}")
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._trt)

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        level, workspace = config.builder_optimization_level, config.limits[MemoryPoolType.WORKSPACE]
        known = config.get_timing_cache().content
        self._trt.calls.append(f"build level {level} workspace {workspace} timings {len(known)}")
        if not self._report(config.progress_monitor):
            return None
        config.get_timing_cache().content = known + b"."
        if not self._trt.answers(f"build {network.source.name}"):
            return None
        return PLAN + os.fsencode(network.source)

    def _report(self, monitor: Any) -> bool:
        monitor.phase_start("Building", None, 2)
        monitor.phase_start("Tactics", "Building", 5)
        if self._trt.interrupt:
            os.kill(os.getpid(), signal.SIGINT)
        go_on = monitor.step_complete("Tactics", 0) and monitor.step_complete("Building", 0)
        monitor.phase_finish("Building")
        return bool(go_on)


class ParserError:
    def desc(self) -> str:
        return "no such operator"


class OnnxParser:
    def __init__(self, trt: FakeTensorRt, network: INetworkDefinition) -> None:
        self._trt, self._network = trt, network
        self.num_errors = 0

    def parse_from_file(self, model: str) -> bool:
        self._network.source = Path(model)
        self.num_errors = int(self._network.source.name not in self._trt.graphs)
        return not self.num_errors

    def get_error(self, index: int) -> ParserError:
        return ParserError()
