"""Builds a TensorRT plan of each ONNX graph, without a GPU: python build_plans.py FOLDER GRAPH...

FOLDER holds TensorRT for RTX: NVIDIA's TensorRT with its own parser, network and optimizer, which can also build for a
GPU that is not there. Prints JSON: by graph, its plan's number of bytes, or what the library says is wrong with it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from jetvla.engines import compile_tensorrt
from jetvla.engines.compile_contender import CompileOptions, Workshop
from jetvla.runtime.backends import tensorrt as backend
from jetvla.runtime.engine_cache import EngineCache
from jetvla.runtime.engine_key import EngineKey, Machine
from jetvla.runtime.errors import EngineError
from jetvla.runtime.memory import Gpu

# Orin's generation; Orin itself (8.7) is none that TensorRT for RTX builds for.
GENERATION = "SM86"


def as_tensorrt(rtx: ModuleType) -> ModuleType:
    """``rtx`` under TensorRT's name and oldest version; it builds for :data:`GENERATION`."""

    class Builder(rtx.Builder):  # type: ignore[misc,name-defined]
        def create_builder_config(self) -> Any:
            config = super().create_builder_config()
            config.num_compute_capabilities = 1
            if not config.set_compute_capability(rtx.ComputeCapability.__members__[GENERATION], 0):
                raise EngineError(f"TensorRT for RTX does not build for {GENERATION}")
            return config

    module = ModuleType("tensorrt")
    vars(module).update(vars(rtx), Builder=Builder, __version__=".".join(map(str, backend.OLDEST)))
    return module


def plan_sizes(graphs: Sequence[Path]) -> dict[str, int | str]:
    """By graph: the bytes of the plan that the product's own code builds, or its error."""
    backend.find_gpu = lambda: Gpu(name="none", compute_capability="8.6", cuda="13.0")
    with tempfile.TemporaryDirectory() as name:
        cache, key = EngineCache(Path(name)), EngineKey("", "tensorrt", "", Machine())
        options = CompileOptions(workspace_mib=256)
        workshop = Workshop(None, options, Path(name), cache, key, _say, lambda text: None)  # type: ignore[arg-type]
        maker = compile_tensorrt._TensorRtMaker(workshop)
        return {str(graph): _size(maker, graph) for graph in graphs}


def _size(maker: Any, graph: Path) -> int | str:
    try:
        return int(maker._build(graph, graph.stem).nbytes)
    except EngineError as error:
        return str(error)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main(library: Path, graphs: Sequence[Path]) -> None:
    sys.path.append(str(library))
    import tensorrt_rtx_bindings as rtx

    sys.modules["tensorrt"] = as_tensorrt(rtx)
    print(json.dumps(plan_sizes(graphs)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(graph) for graph in sys.argv[2:]])
