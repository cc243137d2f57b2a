"""Which candidate computes right, and which of those is fastest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.backends import Backend, Engine, EngineOptions
from jetvla.runtime.backends.base import Array
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.engine_entry import CandidateReport, Part
from jetvla.runtime.errors import BundleError, EngineError
from jetvla.runtime.manifest import Precision
from jetvla.runtime.policy.golden import action_error, golden_samples
from jetvla.runtime.policy.language import Language

CHOSEN = "chosen"
# INT8 has to earn its error: it runs only when its median is at most this part of the best float one's.
INT8_AT_MOST = 0.95
_WARM_UP = 3


class Tally(NamedTuple):
    """Times of one engine, milliseconds: of the call, and between two events on the GPU (None on a CPU)."""

    median_ms: float
    quartiles_ms: tuple[float, float]
    gpu_ms: float | None


class Judge:
    """Runs candidates on the bundle's golden samples, behind one language engine."""

    def __init__(self, bundle: Bundle, backend: Backend, language: Part | None, options: EngineOptions) -> None:
        self._bundle, self._backend, self._options = bundle, backend, options
        self._scale = np.asarray(bundle.manifest.golden.scale, np.float64)
        self._samples = list(self._observed(language))

    def open(self, part: Part) -> Engine:
        """Open a candidate; EngineError if that fails."""
        return self._backend.open(part.path, part.graph, self._options)

    def tolerance(self, precision: Precision) -> float:
        """Largest golden error allowed.

        Raises:
            BundleError: if the bundle states none for the precision.
        """
        known = self._bundle.manifest.golden.tolerance
        if precision not in known:
            raise BundleError(f"{self._bundle.path}: no golden tolerance for {precision}; build the bundle again")
        return known[precision]

    def golden_error(self, step: Engine) -> float:
        """As in the golden self-test: the largest error, each dimension divided by its scale; infinite for NaN."""
        worst = 0.0
        for inputs, truth in self._samples:
            worst = max(worst, action_error(step.infer(inputs)["actions"][0], truth, self._scale))
        return worst

    def race(self, engines: Mapping[str, Engine], rounds: int) -> dict[str, Tally]:
        """Time each engine ``rounds`` times, in turns, since a machine's speed drifts; every turn on one sample."""
        for engine in engines.values():
            for _ in range(_WARM_UP):
                engine.infer(self._samples[0][0])
        times: dict[str, list[float]] = {name: [] for name in engines}
        gpu: dict[str, list[float]] = {name: [] for name in engines}
        for turn in range(rounds):
            inputs, _ = self._samples[turn % len(self._samples)]
            for name, engine in engines.items():
                began = time.perf_counter()
                engine.infer(inputs)
                times[name].append((time.perf_counter() - began) * 1e3)
                if (gpu_ms := engine.gpu_ms()) is not None:
                    gpu[name].append(gpu_ms)
        return {name: _tally(times[name], gpu[name]) for name in engines}

    def _observed(self, language: Part | None) -> Sequence[tuple[dict[str, Array], NDArray[np.float32]]]:
        """The step's inputs of every golden sample, and the actions that the checkpoint gave for it."""
        understand = None
        if language is not None:
            text = self._bundle.manifest.text
            assert text is not None  # a language part is made only for a policy with text
            understand = Language(self._bundle, text, self.open(language), MonotonicClock()).understand
        pairs = []
        for sample in golden_samples(self._bundle):
            inputs: dict[str, Array] = dict(sample.images)
            if sample.state is not None:
                inputs["state"] = sample.state[None]
            if understand is not None:
                inputs.update(understand(sample.sentence).outputs)
            pairs.append((inputs, sample.actions))
        return pairs


def _tally(times: list[float], gpu: list[float]) -> Tally:
    low, median, high = (float(value) for value in np.percentile(times, (25, 50, 75)))
    return Tally(median, (low, high), float(np.median(gpu)) if gpu else None)


def choose(reports: Sequence[CandidateReport], place: Path) -> list[CandidateReport]:
    """Fill in the verdicts: one is :data:`CHOSEN`, the others say why they lost.

    Raises:
        EngineError: if no float candidate computes what the checkpoint did. Such a library is not to be trusted
            with integers either.
    """
    floats = [r for r in reports if r.median_ms is not None and not r.integers]
    integers = [r for r in reports if r.median_ms is not None and r.integers]
    if not floats:
        said = "; ".join(f"{report.name}: {report.verdict}" for report in reports)
        raise EngineError(f"no float engine of {place} computes here what the checkpoint did: {said}")
    best = min(floats, key=_median)
    fastest = min([r for r in integers if _median(r) <= INT8_AT_MOST * _median(best)], key=_median, default=best)
    return [_judged(report, best, fastest) for report in reports]


def _judged(report: CandidateReport, best: CandidateReport, winner: CandidateReport) -> CandidateReport:
    if report.median_ms is None:
        return report
    if report is winner:
        verdict = CHOSEN
    elif report.integers and _median(report) < _median(winner):
        faster = 1 - _median(report) / _median(best)
        verdict = f"{faster:.1%} faster than {best.name}, and INT8 needs {1 - INT8_AT_MOST:.0%}"
    else:
        verdict = f"slower than {winner.name}"
    return report.model_copy(update={"verdict": verdict})


def _median(report: CandidateReport) -> float:
    assert report.median_ms is not None  # only called of those that were timed
    return report.median_ms
