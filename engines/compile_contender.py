"""What a backend's maker gets, and what it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.engine_cache import EngineCache
from jetvla.runtime.engine_entry import Part
from jetvla.runtime.engine_key import EngineKey
from jetvla.runtime.manifest import Precision


@dataclass(frozen=True)
class CompileOptions:
    """How to compile.

    Attributes:
        optimization_level: TensorRT's builder optimization level, 0 to 5; higher builds longer.
        workspace_mib: bound of TensorRT's scratch memory, MiB; the GPU of a Jetson shares the robot's memory.
        threads: of ONNX Runtime; None leaves one core free.
        rounds: how often each candidate is timed, in turns; None takes the backend's default.
    """

    optimization_level: int = 3
    workspace_mib: int = 1024
    threads: int | None = None
    rounds: int | None = None


@dataclass(frozen=True)
class Workshop:
    """One compilation: of which bundle, into which folder, and whom to tell.

    Every file that is made for an engine is named as the engine is, up to its last dot.
    """

    bundle: Bundle
    options: CompileOptions
    folder: Path
    cache: EngineCache
    key: EngineKey
    say: Callable[[str], None]
    show: Callable[[str], None]

    def own_part(self, graph: str) -> Part:
        """A graph of the bundle, as it is."""
        spec = self.bundle.manifest.graphs[graph]
        return Part(self.bundle.file(spec.file), spec)

    def made_part(self, graph: str, file: str) -> Part:
        """A file of ``folder`` with the interface of a graph of the bundle."""
        spec = self.bundle.manifest.graphs[graph]
        return Part(self.folder / file, spec.model_copy(update={"file": file}))


@dataclass(frozen=True)
class Contender:
    """One way to run the step; ``part`` is None where it could not be made, and ``problem`` says why.

    Attributes:
        precision: the manifest's precision whose interface and golden tolerance apply.
        integers: whether it multiplies in INT8.
    """

    name: str
    precision: Precision
    integers: bool
    part: Part | None
    problem: str = ""


class Steps:
    """Shows what is being done, behind how many of a compilation's steps that is: ``building 4/8: ...``."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show, self._at, self.total = show, 1, 1

    def __call__(self, text: str) -> None:
        self._show(f"building {min(self._at, self.total)}/{self.total}: {text}")

    def next(self) -> None:
        """One step more is done."""
        self._at += 1


class Maker(Protocol):
    """Makes a backend's engines of one bundle."""

    def planned(self) -> int:
        """How many candidates for the step there will be, if each can be made."""

    def language(self) -> Part | None:
        """The language engine; None for a policy without language."""

    def steps(self) -> Iterator[Contender]:
        """Every candidate for the step, made one by one."""
