"""What a backend is. Names, shapes and types are checked here, once for all of them; a backend only runs."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.engine_key import Machine
from jetvla.runtime.errors import EngineError
from jetvla.runtime.manifest import GraphSpec, TensorSpec

Array = NDArray[Any]


def spare_one_core() -> int:
    """Number of threads that leaves one of this process's cores to everything else; at least 1."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine may use the machine.

    Attributes:
        threads: None leaves one core free.
        spinning: let idle threads burn their core between steps, for a slightly faster step.
        memory: name of the device memory, for an engine on a GPU; ``auto`` takes the best that is installed.
        profile: a folder for what the library writes about the time of each layer, for
            :meth:`Engine.layer_profile`; None keeps no times. Steps take longer with it.
        seldom: it runs once in a while, and in between should cost as little memory as it can, even if a run then
            takes longer.
    """

    threads: int | None = None
    spinning: bool = False
    memory: str = "auto"
    profile: Path | None = None
    seldom: bool = False


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """What one layer took.

    Attributes:
        name: as the library calls it.
        kind: of kernel; empty where the library does not say.
        shapes: of its outputs; empty where the library does not say.
        ms: of each run.
    """

    name: str
    kind: str
    shapes: tuple[tuple[int, ...], ...]
    ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """Where the time of an engine's runs went.

    Attributes:
        layers: in the order in which they first ran.
        runs_ms: of each run as a whole, by the library's own clock.
        graph: the graph as the library rewrote it, whose nodes are the layers; None where it does not show it.
    """

    layers: tuple[LayerTimes, ...]
    runs_ms: tuple[float, ...]
    graph: Path | None


class Engine(ABC):
    """One opened graph. Not for use by two threads at a time.

    Args:
        graph: the manifest's word on names, types and static shapes, which every call is held to.
    """

    def __init__(self, graph: GraphSpec) -> None:
        self.graph = graph
        self._expected = {n: (np.dtype(t.dtype), t.shape) for n, t in graph.inputs.items()}

    def infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run the graph once; arrays in and out are as in ``graph``.

        Raises:
            EngineError: for a wrong input, or if the step failed. An old output is never returned.
        """
        if len(inputs) != len(self._expected):
            self._refuse_names(inputs)
        for name, (dtype, shape) in self._expected.items():
            array = inputs.get(name)
            if array is None:
                self._refuse_names(inputs)
            elif array.dtype != dtype or array.shape != shape:
                raise EngineError(
                    f"{self.graph.file}: input {name} must be {dtype} {list(shape)}, "
                    f"not {array.dtype} {list(array.shape)}"
                )
        return self._run(inputs)

    def gpu_ms(self) -> float | None:
        """Between two events on the GPU's stream around the last step: its copies in and out, and what the GPU waited
        for launches, included. None on a CPU."""
        return None

    def layer_profile(self) -> LayerProfile | None:
        """Times of every layer since the engine was opened with ``EngineOptions.profile``, which it ends; None where it
        was opened without, or the backend cannot tell.

        Raises:
            EngineError: if the library's report is not whole.
        """
        return None

    @abstractmethod
    def _run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run the graph once on inputs that are known to be right."""

    def _refuse_names(self, inputs: Mapping[str, Array]) -> None:
        given = ", ".join(inputs) or "nothing"
        raise EngineError(f"{self.graph.file} takes {', '.join(self._expected)}, and was given {given}")


class Backend(Protocol):
    """An inference library."""

    @property
    def name(self) -> str: ...

    @property
    def runs_onnx(self) -> bool:
        """Whether it opens a bundle's own graphs; otherwise only what 'jetvla compile' made of them."""

    def version(self) -> str:
        """Version of the library."""

    def machine(self) -> Machine:
        """This machine, as far as it decides what an engine is valid for."""

    def open(self, path: Path, graph: GraphSpec, options: EngineOptions) -> Engine:
        """Load ``path``: an ONNX file, or what 'jetvla compile' made of one for a backend that runs nothing else.

        Raises:
            EngineError: if it cannot be loaded, or its interface differs from ``graph``.
        """


def check_interface(path: Path, kind: str, expected: Mapping[str, TensorSpec], found: Mapping[str, TensorSpec]) -> None:
    """Hold a loaded graph's inputs or outputs (``kind``) against the manifest's.

    Raises:
        EngineError: listing every difference.
    """
    wrong = [f"no {kind} {name}" for name in expected if name not in found]
    wrong += [f"unexpected {kind} {name}" for name in found if name not in expected]
    wrong += [
        f"{kind} {name} is {found[name].dtype} {list(found[name].shape)}, not {spec.dtype} {list(spec.shape)}"
        for name, spec in expected.items()
        if name in found and found[name] != spec
    ]
    if wrong:
        raise EngineError(f"{path} differs from its manifest: {'; '.join(wrong)}; build the bundle again")
