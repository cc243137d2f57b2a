"""Candidates for TensorRT: a plan for each precision of the bundle, and one of its language graph.

Networks are strongly typed: a graph's own types say what is computed in what, and TensorRT decides nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.engines.compile_contender import Contender, Maker, Workshop
from jetvla.engines.compile_progress import Interrupts, open_monitor
from jetvla.runtime.backends.tensorrt import complaint, library, logger
from jetvla.runtime.engine_entry import Part
from jetvla.runtime.errors import EngineError
from jetvla.runtime.manifest import Precision

if TYPE_CHECKING:
    import tensorrt as trt

_PRECISIONS: tuple[Precision, ...] = ("fp16", "int8-fp16", "fp32")


class _TensorRtMaker:
    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._logger: trt.ILogger = logger()

    def planned(self) -> int:
        return sum(f"step.{precision}" in self._workshop.bundle.manifest.graphs for precision in _PRECISIONS)

    def language(self) -> Part | None:
        if self._workshop.bundle.manifest.text is None:
            return None
        return self._made("language.fp32", "language")

    def steps(self) -> Iterator[Contender]:
        for precision in _PRECISIONS:
            graph = f"step.{precision}"
            if graph not in self._workshop.bundle.manifest.graphs:
                continue
            integers = precision.startswith("int8")
            try:
                yield Contender(precision, precision, integers, self._made(graph, graph))
            except EngineError as error:
                yield Contender(precision, precision, integers, None, f"not made: {error}")

    def _made(self, graph: str, stem: str) -> Part:
        source = self._workshop.own_part(graph).path
        part = self._workshop.made_part(graph, f"{stem}.plan")
        self._workshop.show(f"{graph}: reading")
        plan = self._build(source, graph)
        part.path.write_bytes(plan)
        part.path.with_name(f"{stem}.layers.json").write_text(self._layers(plan), encoding="utf-8")
        return part

    def _build(self, source: Path, title: str) -> trt.IHostMemory:
        trt = library()
        builder = trt.Builder(self._logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self._logger)
        if not parser.parse_from_file(str(source)):
            raise EngineError(f"TensorRT cannot read {source}: {_errors(parser)}")
        with Interrupts() as interrupts:
            # Held here, since the configuration does not keep it alive.
            monitor = open_monitor(lambda text: self._workshop.show(f"{title}: {text}"), interrupts)
            config = self._config(builder, monitor)
            plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineError(f"TensorRT cannot build {source}: {complaint()}")
        timings = config.get_timing_cache()
        self._workshop.cache.keep_timings(self._workshop.key, bytes(timings.serialize()))
        return plan

    def _config(self, builder: trt.Builder, monitor: trt.IProgressMonitor) -> trt.IBuilderConfig:
        trt = library()
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, self._workshop.options.workspace_mib << 20)
        config.builder_optimization_level = self._workshop.options.optimization_level
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        # FP32 means FP32: TF32 keeps 10 bits of the mantissa, and its error is that of FP16.
        config.clear_flag(trt.BuilderFlag.TF32)
        config.progress_monitor = monitor
        self._set_timings(config)
        return config

    def _set_timings(self, config: trt.IBuilderConfig) -> None:
        known = self._workshop.cache.timings(self._workshop.key)
        timings = config.create_timing_cache(known)
        if known and (timings is None or not config.set_timing_cache(timings, ignore_mismatch=False)):
            self._workshop.say(f"the kept kernel timings are not used ({complaint()}); every kernel is timed again")
            known = b""
        if not known:
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)

    def _layers(self, plan: trt.IHostMemory) -> str:
        """The engine inspector's report, JSON."""
        trt = library()
        runtime = trt.Runtime(self._logger)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineError(f"TensorRT cannot load the plan that it has just built: {complaint()}")
        inspector = engine.create_engine_inspector()
        return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _errors(parser: trt.OnnxParser) -> str:
    found = []
    for index in range(parser.num_errors):
        error: trt.ParserError = parser.get_error(index)
        found.append(error.desc())
    return "; ".join(found) or complaint()


def open_maker(workshop: Workshop) -> Maker:
    """Raises MissingDependency or EngineError where TensorRT or a CUDA device is missing."""
    return _TensorRtMaker(workshop)
