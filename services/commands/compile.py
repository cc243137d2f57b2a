"""Build a bundle's engines for this machine, and keep the fastest that computes right.

Every candidate runs the bundle's golden samples and is timed in turns with the others: the portable graphs and their
rewritten variants on a CPU, one plan for each precision with TensorRT. INT8 is kept only where it is 5 % faster than
the best float engine. Nothing is visible before it is whole. 'jetvla run' takes what was compiled.

With --check nothing is built: the exit status says whether the engine is there (0) or not (1).

With --config, BUNDLE, the engines' folder, the backend and the trusted keys are those of the configuration.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.services.termination import ends_cleanly

if TYPE_CHECKING:
    from rich.table import Table

    from jetvla.runtime.backends import Backend
    from jetvla.runtime.bundle import Bundle
    from jetvla.runtime.engine_cache import EngineCache
    from jetvla.runtime.engine_entry import CandidateReport, CompiledEngine

ENGINES = Path("/var/cache/jetvla/engines")
TRUSTED = Path("/etc/jetvla/trusted.d")
# How long the service manager is asked to wait from one sign of progress to the next. A plan of a large graph shows
# none for minutes.
STEP_S = 900.0


@dataclass(frozen=True)
class _Job:
    """What is asked for; ``trusted`` None skips the signature, ``threads`` None leaves one core free."""

    bundle: Path
    engines: Path
    trusted: Path | None
    backend: str
    threads: int | None


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="folder or .jetvla file")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--config", type=Path, metavar="FILE", help="configuration that will run it")
    place.add_argument("--engines", type=Path, metavar="DIR", help=f"folder of the engines (default: {ENGINES})")
    parser.add_argument("--backend", choices=("auto", "onnxruntime", "tensorrt"), help="(default: auto)")
    parser.add_argument("--again", action="store_true", help="compile also what is there already")
    parser.add_argument("--check", action="store_true", help="only say whether it is there: exit status 0, else 1")
    parser.add_argument(
        "--rounds", type=_positive, metavar="N", help="timings of each candidate (default: 30, GPU 200)"
    )
    parser.add_argument("--threads", type=_positive, metavar="N", help="of ONNX Runtime (default: all cores but one)")
    tensorrt = parser.add_argument_group("TensorRT")
    tensorrt.add_argument("--optimization-level", type=int, choices=range(6), default=3, help="(default: 3)")
    tensorrt.add_argument("--workspace", type=_positive, default=1024, metavar="MIB", help="(default: 1024)")
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--trusted", type=Path, metavar="DIR", help=f"folder of trusted keys (default: {TRUSTED})")
    trust.add_argument("--unsigned", action="store_true", help="check files only, not the signature")


@ends_cleanly()
def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from jetvla.engines.compile import compile_bundle
    from jetvla.engines.compile_contender import CompileOptions
    from jetvla.runtime.backends import load_backend
    from jetvla.runtime.engine_cache import EngineCache
    from jetvla.services.bundle_source import opened

    job = _job(arguments)
    console = Console(highlight=False, markup=False, width=None if Console().is_terminal else 120)
    backend, cache = load_backend(job.backend), EngineCache(job.engines)
    options = CompileOptions(arguments.optimization_level, arguments.workspace, job.threads, arguments.rounds)
    with opened(job.bundle, job.trusted) as bundle:
        say = partial(console.print, soft_wrap=True)
        if arguments.check:
            return _checked(_there(cache, bundle, backend, say), say)
        compiled = None if arguments.again else _there(cache, bundle, backend, say)
        if compiled is None:
            with console.status("starting") as status:
                show = _shown(status.update)
                compiled = compile_bundle(bundle, backend, cache, options, console.print, show)
            console.print(candidates(compiled))
    entry = compiled.entry
    console.print(f"{entry.policy} runs on {backend.name} {backend.version()} as: {entry.candidate}")
    say(f"engine: {compiled.folder}")
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or not (number := int(text)):
        raise argparse.ArgumentTypeError(f"{text} is no whole number of at least 1")
    return number


def _job(arguments: argparse.Namespace) -> _Job:
    from jetvla.runtime.config import load_config
    from jetvla.runtime.errors import ConfigError

    if arguments.config is not None:
        config = load_config(arguments.config)
        threads = None if config.policy.threads == "auto" else config.policy.threads
        job = _Job(config.bundle, config.policy.engines, config.trusted, config.policy.backend, threads)
    elif arguments.bundle is not None:
        job = _Job(arguments.bundle, ENGINES, TRUSTED, "auto", None)
    else:
        raise ConfigError("say which BUNDLE to compile, or give a --config that names one")
    return _Job(
        arguments.bundle or job.bundle,
        arguments.engines or job.engines,
        None if arguments.unsigned else arguments.trusted or job.trusted,
        arguments.backend or job.backend,
        arguments.threads or job.threads,
    )


def _shown(update: Callable[[str], None]) -> Callable[[str], None]:
    """Shows progress on the terminal, and to the service manager that waits for it."""
    from jetvla.services.service_manager import Notifier

    notifier = Notifier.here()

    def show(text: str) -> None:
        update(text)
        notifier.lasting(text, STEP_S)

    return show


def _checked(compiled: CompiledEngine | None, say: Callable[[str], None]) -> int:
    if compiled is None:
        say("there is no engine for this machine as it is; make it with 'jetvla compile'")
        return 1
    say(f"engine: {compiled.folder}")
    return 0


def _there(cache: EngineCache, bundle: Bundle, backend: Backend, say: Callable[[str], None]) -> CompiledEngine | None:
    """What was compiled before; a damaged entry is as none."""
    from jetvla.runtime.engine_cache import engine_key
    from jetvla.runtime.errors import EngineError

    try:
        compiled = cache.find(engine_key(bundle, backend))
    except EngineError as error:
        say(str(error))
        return None
    if compiled is not None:
        say("compiled before, for this machine as it is; --again compiles it anew")
    return compiled


def candidates(compiled: CompiledEngine) -> Table:
    """What became of every candidate."""
    from rich.table import Table

    entry = compiled.entry
    table = Table(title=f"the step, {entry.rounds} rounds in turns, golden error beside what is allowed")
    for column in ("candidate", "ms (quartiles)", "golden error", "verdict"):
        table.add_column(column, justify="left" if column in ("candidate", "verdict") else "right", overflow="fold")
    for report in entry.candidates:
        error = "" if report.golden_error is None else f"{report.golden_error:.3g} / {report.tolerance:.3g}"
        table.add_row(report.name, _times(report), error, report.verdict)
    return table


def _times(report: CandidateReport) -> str:
    if report.median_ms is None or report.quartiles_ms is None:
        return ""
    low, high = report.quartiles_ms
    gpu = "" if report.gpu_ms is None else f", GPU {report.gpu_ms:.3g}"
    return f"{report.median_ms:.3g} ({low:.3g}–{high:.3g}){gpu}"
