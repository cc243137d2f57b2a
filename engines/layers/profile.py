"""A policy's run, profiled layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.engines.bench.turns import Others
from jetvla.engines.layers.kernels import measured_shapes, place_kernels
from jetvla.engines.layers.places import Places
from jetvla.engines.layers.plans import place_layers, read_metadata
from jetvla.engines.layers.roof import Roof, measure_roof
from jetvla.engines.layers.table import LayerTable, make_table
from jetvla.engines.runner import temporary_folder
from jetvla.runtime.backends import Backend, EngineOptions, load_backend
from jetvla.runtime.backends.base import LayerProfile, spare_one_core
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.engine_entry import Part
from jetvla.runtime.errors import EngineError, MissingDependency
from jetvla.runtime.policy.golden import golden_samples
from jetvla.runtime.policy.model import Model, Variant, choose_variant

if TYPE_CHECKING:
    from onnx import ModelProto

WARM_UP, STEPS = 3, 30


@dataclass(frozen=True)
class PolicyProfile:
    """Where the time of a policy's graphs goes.

    Attributes:
        backend: and its version.
        variant: which files ran, for people.
        threads: of the step; None on a GPU.
        step: runs for every frame.
        language: runs when the instruction changes; None for a policy without.
        roof: None where it is not measured, on a GPU.
        others: share of the machine's cores that other programs used meanwhile.
    """

    backend: str
    variant: str
    threads: int | None
    step: LayerTable
    language: LayerTable | None
    roof: Roof | None
    others: float


def profile_layers(bundle: Bundle, config: PolicyConfig, say: Callable[[str], None]) -> PolicyProfile:
    """Run ``bundle`` as ``config`` says on its golden observations in turns, with the first one's instruction, read
    anew for each.

    Raises:
        MissingDependency: onnx is not installed.
        EngineError: there is no such engine, it fails, or its backend does not tell the times of layers.
    """
    if find_spec("onnx") is None:
        raise MissingDependency("onnx", "a profile of layers", "pip install 'jetvla[build]', or onnx alone")
    backend = load_backend(config.backend)
    variant = choose_variant(bundle, backend, config)
    threads = None if config.threads == "auto" else config.threads
    with temporary_folder() as folder:
        say(f"profiling {WARM_UP} + {STEPS} steps of {variant.name}, {variant.precision}")
        others = Others()
        step, language = _profiles(bundle, backend, variant, EngineOptions(threads=threads, profile=folder))
        table = _table(bundle, variant.step, f"step.{variant.precision}", step)
        spoken = None
        if variant.language is not None and language is not None:
            spoken = _table(bundle, variant.language, "language.fp32", language)
        roof = None
        if backend.runs_onnx:
            say("measuring the roof")
            roof = measure_roof(backend, threads, folder)
        used_by_others = others.share()
    return PolicyProfile(
        backend=f"{backend.name} {backend.version()}",
        variant=f"{variant.name}, {variant.precision}",
        threads=(threads or spare_one_core()) if backend.runs_onnx else None,
        step=table,
        language=spoken,
        roof=roof,
        others=used_by_others,
    )


def _profiles(
    bundle: Bundle, backend: Backend, variant: Variant, options: EngineOptions
) -> tuple[LayerProfile, LayerProfile | None]:
    model = Model(bundle, backend, variant, options, MonotonicClock())
    samples = list(golden_samples(bundle))
    for turn in range(WARM_UP + STEPS):
        sample = samples[turn % len(samples)]
        model.forget()
        model.infer(sample.images, sample.state, samples[0].sentence)
    step, language = model.layer_profiles()
    if step is None:
        raise EngineError(f"the backend {backend.name} does not tell the times of its layers; choose another")
    for profile in (step, language):
        if profile is not None and len(profile.runs_ms) != WARM_UP + STEPS:
            raise EngineError(f"{backend.name} reports {len(profile.runs_ms)} runs of {WARM_UP + STEPS}; profile again")
    return step, language


def _table(bundle: Bundle, part: Part, graph: str, profile: LayerProfile) -> LayerTable:
    """The table of ``part``, which was made of ``graph`` of the bundle."""
    if profile.graph is None:
        places = Places(_load(bundle.file(bundle.manifest.graphs[graph].file)))
        placed = place_layers(places, read_metadata(part.path.with_suffix(".layers.json")), profile.layers)
    else:
        rewritten = _load(profile.graph)
        places = Places(_load(part.path), measured_shapes(profile.layers, rewritten))
        placed = place_kernels(places, rewritten, profile.layers)
    return make_table(placed, profile.runs_ms, WARM_UP)


def _load(path: Path) -> ModelProto:
    """A graph without the weights beside it."""
    import onnx

    return onnx.load(path, load_external_data=False)
