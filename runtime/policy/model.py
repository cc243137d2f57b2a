"""A bundle's graphs, opened on one backend and ready to act."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.backends import Backend, EngineOptions, load_backend
from jetvla.runtime.backends.base import Array, LayerProfile
from jetvla.runtime.bundle import Bundle, digest_file
from jetvla.runtime.clock import Clock
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.engine_cache import EngineCache, differences, engine_key
from jetvla.runtime.engine_entry import CompiledEngine, Part
from jetvla.runtime.engine_key import EngineKey
from jetvla.runtime.errors import EngineError
from jetvla.runtime.manifest import Precision
from jetvla.runtime.policy.language import Language
from jetvla.runtime.policy.precision import choose_precision

_log = logging.getLogger(__name__)


class Step(NamedTuple):
    """One answer: float32 [H, D] in physical units, how many tokens of the sentence were cut, and times."""

    actions: NDArray[np.float32]
    cut: int
    tokenize_ns: int
    language_ns: int
    step_ns: int


class Variant(NamedTuple):
    """Which files a model runs.

    Attributes:
        name: for people.
        precision: the manifest's, whose golden tolerance applies.
        step, language: what the backend opens; no language for a policy without.
    """

    name: str
    precision: Precision
    step: Part
    language: Part | None

    @classmethod
    def portable(cls, bundle: Bundle, precision: Precision) -> Variant:
        """The bundle's own graphs."""
        step, language = bundle.manifest.graphs[f"step.{precision}"], bundle.manifest.graphs.get("language.fp32")
        return cls(
            "the bundle's graph",
            precision,
            Part(bundle.file(step.file), step),
            None if language is None else Part(bundle.file(language.file), language),
        )

    @classmethod
    def compiled(cls, bundle: Bundle, engine: CompiledEngine) -> Variant:
        """What ``jetvla compile`` chose."""
        entry = engine.entry
        return cls(entry.candidate, entry.precision, engine.step(bundle), engine.language(bundle))


class Model:
    """A variant of a bundle's graphs, opened.

    Raises:
        EngineError: if a graph cannot be loaded.
    """

    def __init__(
        self, bundle: Bundle, backend: Backend, variant: Variant, options: EngineOptions, clock: Clock
    ) -> None:
        manifest = bundle.manifest
        self.bundle, self.variant, self.clock = bundle, variant, clock
        self.key = _key(variant.step, backend, options)
        self._step = backend.open(*variant.step, options)
        self._language = None
        if manifest.text is not None and variant.language is not None:
            # It runs when the instruction changes.
            engine = backend.open(*variant.language, replace(options, seldom=True))
            self._language = Language(bundle, manifest.text, engine, clock)

    @property
    def precision(self) -> Precision:
        """The manifest's precision that it runs."""
        return self.variant.precision

    def gpu_ms(self) -> float | None:
        """Of the last step, as :meth:`Engine.gpu_ms`."""
        return self._step.gpu_ms()

    def forget(self) -> None:
        """Read the next sentence anew: what a self-test read is not what an operator said."""
        if self._language is not None:
            self._language.forget()

    def layer_profiles(self) -> tuple[LayerProfile | None, LayerProfile | None]:
        """Of step and language, as :meth:`Engine.layer_profile`; None for a policy without language."""
        language = None if self._language is None else self._language.layer_profile()
        return self._step.layer_profile(), language

    def infer(self, images: Mapping[str, Array], state: NDArray[np.float32] | None, sentence: str) -> Step:
        """Answer one observation: images uint8 [1, H, W, 3] of the policy's size, by ``image_<camera>``; the state
        float32 [S], or None if the policy takes none.

        The actions are what the engine gave and may hold NaN: the guard judges them.

        Raises:
            EngineError: if an input is wrong or the engine failed.
        """
        cut = tokenize_ns = language_ns = 0
        inputs = dict(images)
        if state is not None:
            inputs["state"] = state[None]
        if self._language is not None:
            outputs, cut, tokenize_ns, language_ns = self._language.understand(sentence)
            inputs.update(outputs)
        started = self.clock.now_ns()
        actions = self._step.infer(inputs)["actions"][0]
        return Step(actions, cut, tokenize_ns, language_ns, self.clock.now_ns() - started)


def open_model(bundle: Bundle, config: PolicyConfig, clock: Clock) -> Model:
    """Open what ``jetvla compile`` chose for this machine, or else for a former state of it (another driver or power
    mode), or else, and for a named precision, the bundle's graphs.

    Raises:
        EngineError: if there is no such backend or precision, a graph cannot be loaded, what was compiled is damaged,
            or the backend runs compiled engines only and there is none.
    """
    backend = load_backend(config.backend)
    options = EngineOptions(threads=None if config.threads == "auto" else config.threads)
    return Model(bundle, backend, choose_variant(bundle, backend, config), options, clock)


def choose_variant(bundle: Bundle, backend: Backend, config: PolicyConfig) -> Variant:
    """What :func:`open_model` opens; raises what it raises but for a graph that cannot be loaded."""
    cache, key = EngineCache(config.engines), engine_key(bundle, backend)
    compiled, former = cache.find(key), None
    if compiled is None:
        compiled = former = cache.former(key)
    if compiled is not None and config.precision in ("auto", compiled.entry.precision):
        if former is not None:
            _log.warning(
                "no engine was compiled for this machine as it is now (%s); the former one is used, and may be slower "
                "than a new one from 'jetvla compile'",
                differences(key, former),
            )
        return Variant.compiled(bundle, compiled)
    if not backend.runs_onnx:
        there = "none is" if compiled is None else f"only one in {compiled.entry.precision} is"
        raise EngineError(
            f"{backend.name} runs engines that were compiled for this machine, and {there} in {config.engines}; make "
            f"it with: jetvla compile {bundle.path} --engines {config.engines}"
        )
    precision = choose_precision(bundle.manifest, config.precision, backend.name)
    return Variant.portable(bundle, precision)


def _key(step: Part, backend: Backend, options: EngineOptions) -> EngineKey:
    return EngineKey(
        graph=digest_file(step.path).sha256,
        backend=backend.name,
        backend_version=backend.version(),
        machine=backend.machine(),
        options=(("spinning", str(options.spinning)), ("threads", str(options.threads or "auto"))),
    )
