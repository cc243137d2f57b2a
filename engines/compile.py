"""A bundle's engines for this machine: built, proved on the golden samples, timed in turns, and the winner kept.

Runs on the robot's computer: it needs the backend's library, and for the CPU's rewritten graphs ``onnx``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from jetvla.engines.compile_contender import CompileOptions, Contender, Maker, Steps, Workshop
from jetvla.engines.compile_environment import environment
from jetvla.engines.compile_judge import CHOSEN, Judge, Tally, choose
from jetvla.runtime.backends import Backend, Engine, EngineOptions
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.engine_cache import EngineCache, engine_key
from jetvla.runtime.engine_entry import CandidateReport, CompiledEngine, Entry, Part
from jetvla.runtime.errors import EngineError

# Each module has ``open_maker``.
_MAKERS = {
    "tensorrt": "jetvla.engines.compile_tensorrt",
    "onnxruntime": "jetvla.engines.compile_cpu",
}
# A step takes milliseconds on a GPU, and up to half a second on a CPU.
_ROUNDS = {"tensorrt": 200, "onnxruntime": 30}


def compile_bundle(
    bundle: Bundle,
    backend: Backend,
    cache: EngineCache,
    options: CompileOptions,
    say: Callable[[str], None],
    show: Callable[[str], None] = lambda _: None,
) -> CompiledEngine:
    """Compile ``bundle`` for ``backend`` on this machine, and replace what the cache has of it.

    Args:
        say: takes lines that stay; ``show`` what is being done now.

    Raises:
        EngineError: if nothing computes what the checkpoint did, or nothing can be written. The cache is as before.
        MissingDependency: if a library is not installed.
    """
    if backend.name not in _MAKERS:
        raise EngineError(f"backend {backend.name} needs no compiling; choose from {', '.join(_MAKERS)}")
    key = engine_key(bundle, backend)
    rounds = options.rounds or _ROUNDS[backend.name]
    with cache.publishing(key) as publication:
        steps = Steps(show)
        workshop = Workshop(bundle, options, publication.folder, cache, key, say, steps)
        maker: Maker = import_module(_MAKERS[backend.name]).open_maker(workshop)
        # Before the candidates the language graph, after them the race.
        steps.total = maker.planned() + 2
        steps("the language graph")
        language = maker.language()
        steps.next()
        judge = Judge(bundle, backend, language, EngineOptions(threads=options.threads))
        parts, reports = _compete(workshop, steps, maker, judge, rounds)
        winner = next(report for report in reports if report.verdict == CHOSEN)
        _keep(publication.folder, parts[winner.name], language)
        return publication.finish(
            Entry(
                policy=f"{bundle.manifest.name} {bundle.manifest.version}",
                candidate=winner.name,
                precision=winner.precision,
                step=_own_file(publication.folder, parts[winner.name]),
                language=_own_file(publication.folder, language),
                candidates=tuple(reports),
                rounds=rounds,
                options={name: str(value) for name, value in asdict(options).items() if value is not None},
                environment=environment(),
            )
        )


def _compete(
    workshop: Workshop, steps: Steps, maker: Maker, judge: Judge, rounds: int
) -> tuple[dict[str, Part | None], list[CandidateReport]]:
    """Make every candidate, prove it, and time those that compute right; parts and verdicts by candidate."""
    parts: dict[str, Part | None] = {}
    engines: dict[str, Engine] = {}
    reports: list[CandidateReport] = []
    steps("the first candidate")
    for contender in maker.steps():
        parts[contender.name] = contender.part
        reports.append(_prove(contender, judge, engines))
        workshop.say(_proof(reports[-1]))
        steps.next()
        steps(f"after {contender.name}")
    workshop.show(f"timing {len(engines)} engines in turns, {rounds} rounds")
    tallies = judge.race(engines, rounds)
    return parts, choose([_timed(report, tallies) for report in reports], workshop.bundle.path)


def _prove(contender: Contender, judge: Judge, engines: dict[str, Engine]) -> CandidateReport:
    """Open a candidate and run the golden samples; one that computes right is added to ``engines``."""
    report = CandidateReport(name=contender.name, precision=contender.precision, integers=contender.integers)
    if contender.part is None:
        return report.model_copy(update={"verdict": contender.problem})
    try:
        engine = judge.open(contender.part)
        error, tolerance = judge.golden_error(engine), judge.tolerance(contender.precision)
    except EngineError as problem:
        return report.model_copy(update={"verdict": f"does not run: {problem}"})
    report = report.model_copy(update={"golden_error": error, "tolerance": tolerance})
    if not error <= tolerance:
        verdict = f"computes wrong actions: golden error {error:.3g}, at most {tolerance:.3g} is allowed"
        return report.model_copy(update={"verdict": verdict})
    engines[contender.name] = engine
    return report


def _proof(report: CandidateReport) -> str:
    if report.verdict:
        return f"{report.name}: {report.verdict}"
    return f"{report.name}: golden error {report.golden_error:.3g} of at most {report.tolerance:.3g}"


def _timed(report: CandidateReport, tallies: Mapping[str, Tally]) -> CandidateReport:
    tally = tallies.get(report.name)
    return report if tally is None else report.model_copy(update=tally._asdict())


def _own_file(folder: Path, part: Part | None) -> str | None:
    """Name of a part's file in ``folder``; None if it lies in the bundle."""
    return part.path.name if part is not None and part.path.parent == folder else None


def _keep(folder: Path, *parts: Part | None) -> None:
    """Remove what the losers left; a winner's reports are named as its engine is."""
    stems = tuple(f"{part.path.stem}." for part in parts if part is not None)
    for path in folder.iterdir():
        if not path.name.startswith(stems):
            path.unlink()
