"""What lies in one folder of the engine cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.manifest import FileSpec, GraphSpec, Precision


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CandidateReport(_Record):
    """What became of one way to run the step.

    Attributes:
        precision: the manifest's precision whose interface and golden tolerance apply.
        integers: whether it multiplies in INT8.
        golden_error: as in the golden self-test; None if it was not run.
        median_ms: of the step, over the rounds; None if it was not timed.
        quartiles_ms: 25th and 75th percentile.
        gpu_ms: median between two events on the GPU's stream, copies and waits for launches included; None on a CPU.
        verdict: "chosen", or why it lost.
    """

    name: str
    precision: Precision
    integers: bool
    golden_error: float | None = None
    tolerance: float | None = None
    median_ms: float | None = None
    quartiles_ms: tuple[float, float] | None = None
    gpu_ms: float | None = None
    verdict: str = ""


class Entry(_Record):
    """The contents of ``entry.json``.

    Attributes:
        key: the engine's key, field by field; the cache fills it in, like ``files``.
        policy: name and version of the bundle, for people.
        candidate: the winner's name; ``precision`` is the manifest's that it belongs to.
        step: file of this folder; None for the bundle's own step graph of that precision.
        language: file of this folder; None for the bundle's own language graph, or a policy without language.
        rounds: how often each candidate was timed, in turns.
        options: how it was compiled.
        environment: in what state the machine was when it timed them.
        files: digest of every file of the folder but ``entry.json``.
    """

    schema_version: Literal[1] = 1
    key: dict[str, Any] = {}
    policy: str
    candidate: str
    precision: Precision
    step: str | None = None
    language: str | None = None
    candidates: tuple[CandidateReport, ...]
    rounds: int
    options: dict[str, str]
    environment: dict[str, str]
    files: dict[str, FileSpec] = {}


class Part(NamedTuple):
    """One engine's file, and the interface it must have."""

    path: Path
    graph: GraphSpec


@dataclass(frozen=True)
class CompiledEngine:
    """A verified entry of the cache."""

    folder: Path
    entry: Entry

    def step(self, bundle: Bundle) -> Part:
        """What a backend opens as the step."""
        return self._part(bundle, self.entry.step, f"step.{self.entry.precision}")

    def language(self, bundle: Bundle) -> Part | None:
        """What a backend opens as the language graph; None for a policy without language."""
        if bundle.manifest.text is None:
            return None
        return self._part(bundle, self.entry.language, "language.fp32")

    def _part(self, bundle: Bundle, own: str | None, name: str) -> Part:
        graph = bundle.manifest.graphs[name]
        if own is None:
            return Part(bundle.file(graph.file), graph)
        return Part(self.folder / own, graph.model_copy(update={"file": own}))
