"""Was it right? What ``jetvla compile`` chose, timed again beside every other candidate that computes right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from jetvla.engines.bench.turns import ACCEPTED, Way, measure
from jetvla.engines.bench.ways import acting
from jetvla.engines.compile_contender import CompileOptions, Workshop
from jetvla.engines.compile_cpu import open_maker
from jetvla.engines.observations import random_observations
from jetvla.runtime.backends import EngineOptions, load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.engine_cache import EngineCache, engine_key
from jetvla.runtime.errors import EngineError
from jetvla.runtime.policy.golden import run_golden
from jetvla.runtime.policy.model import Model, Variant


@dataclass(frozen=True)
class Candidate:
    """Median milliseconds of one candidate, NaN without a sample."""

    name: str
    ms: float
    accepted: int
    dropped: int


@dataclass(frozen=True)
class Choice:
    """All candidates that compute right; ``chosen`` is the name of compile's."""

    chosen: str
    candidates: tuple[Candidate, ...]

    @property
    def pick(self) -> Candidate:
        """What compile chose."""
        return next(c for c in self.candidates if c.name == self.chosen)

    @property
    def best(self) -> Candidate:
        """The fastest now."""
        return min(self.candidates, key=lambda c: c.ms)

    @property
    def ratio(self) -> float:
        """Speed of the chosen candidate, of the best one's."""
        return self.best.ms / self.pick.ms


def choice(bundle: Bundle, engines: Path, threads: int, accepted: int = ACCEPTED) -> Choice:
    """Make the candidates of the cache's entry again, for it keeps only the winner, and time them in turns.

    Raises:
        EngineError: if the bundle was not compiled, or its winner computes wrong now.
    """
    cache, backend = EngineCache(engines), load_backend("onnxruntime")
    compiled = cache.find(engine_key(bundle, backend))
    if compiled is None:
        raise EngineError(f"no engine of {bundle.path} in {engines}; run: jetvla compile {bundle.path} --engines ...")
    chosen = compiled.entry.candidate
    with TemporaryDirectory() as folder:
        options = CompileOptions(threads=threads)
        key = engine_key(bundle, backend)
        ways = list(_accurate(Workshop(bundle, options, Path(folder), cache, key, print, lambda _: None)))
        if chosen not in [way.name for way in ways]:
            raise EngineError(
                f"{chosen}, the chosen engine of {bundle.path}, computes wrong; run: jetvla compile --again"
            )
        tallies = measure(ways, accepted)
    found = [
        Candidate(w.name, float(np.median(t.accepted)) * 1e3 if t.accepted else np.nan, len(t.accepted), t.dropped)
        for w, t in zip(ways, tallies, strict=True)
    ]
    return Choice(chosen, tuple(found))


def _accurate(workshop: Workshop) -> Iterator[Way]:
    """Every candidate that passes its golden self-test, opened."""
    bundle, maker = workshop.bundle, open_maker(workshop)
    backend, options = load_backend("onnxruntime"), EngineOptions(threads=workshop.options.threads)
    sentence = random_observations(bundle.manifest).held_out[0].instruction
    for contender in maker.steps():
        if contender.part is None:
            continue
        variant = Variant(contender.name, contender.precision, contender.part, maker.language())
        model = Model(bundle, backend, variant, options, MonotonicClock())
        if run_golden(model).passed:
            yield acting(model, contender.name, sentence)
