"""Candidates for ONNX Runtime on a CPU: the bundle's portable graphs, and graphs rewritten for its kernels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec

from jetvla.engines.compile_contender import Contender, Maker, Workshop
from jetvla.runtime.engine_entry import Part
from jetvla.runtime.errors import EngineError
from jetvla.runtime.manifest import Manifest, Precision

_PORTABLE: tuple[Precision, ...] = ("fp32", "int8-fp32")


class _CpuMaker:
    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._manifest = workshop.bundle.manifest

    def planned(self) -> int:
        portable = sum(f"step.{precision}" in self._manifest.graphs for precision in _PORTABLE)
        # Rewritten: one of floats, and two of integers where the bundle has INT8.
        return portable + (1 if find_spec("onnx") is None else 3 if "step.int8-fp32" in self._manifest.graphs else 1)

    def language(self) -> Part | None:
        return None if self._manifest.text is None else self._workshop.own_part("language.fp32")

    def steps(self) -> Iterator[Contender]:
        for precision in _PORTABLE:
            if f"step.{precision}" in self._manifest.graphs:
                part = self._workshop.own_part(f"step.{precision}")
                yield Contender(precision, precision, precision != "fp32", part)
        yield from self._rewritten()

    def _rewritten(self) -> Iterator[Contender]:
        if find_spec("onnx") is None:
            yield Contender("rewritten", "fp32", False, None, "not made: it needs onnx; pip install onnx")
            return
        import onnx

        from jetvla.engines.cpu_graph import cpu_candidates

        self._workshop.show("rewriting the step for this CPU")
        step = self._workshop.own_part("step.fp32").path
        allowed = "step.int8-fp32" in self._manifest.graphs
        calibrated = self._workshop.own_part("step.int8-fp32").path if allowed else None
        try:
            for candidate in cpu_candidates(step, kept_float(self._manifest), calibrated):
                # Where INT8 was out of tolerance, 'build' wrote none, and no other INT8 is tried either.
                if candidate.integers and not allowed:
                    continue
                precision: Precision = "int8-fp32" if candidate.integers else "fp32"
                file = f"step.{re.sub('[^a-z0-9]+', '-', candidate.name.lower())}.onnx"
                onnx.save(candidate.model, str(self._workshop.folder / file))
                part = self._workshop.made_part(f"step.{precision}", file)
                yield Contender(candidate.name, precision, candidate.integers, part)
        except EngineError as error:
            yield Contender("rewritten", "fp32", False, None, f"not made: {error}")


def kept_float(manifest: Manifest) -> set[str]:
    """Blocks whose INT8 would cost too much of the tolerance, as ``build`` measured it."""
    reports = [report for report in manifest.precision if report.precision == "int8-fp32"]
    return {block.name for report in reports for block in report.blocks if block.precision == "float"}


def open_maker(workshop: Workshop) -> Maker:
    """Needs nothing but the bundle; the rewritten graphs need onnx."""
    return _CpuMaker(workshop)
