"""A bundle's graphs, opened on one backend and ready to act."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.backends import Backend, Engine, EngineOptions, load_backend
from jetvla.runtime.backends.base import Array
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import Clock
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.engine_key import EngineKey, Machine
from jetvla.runtime.manifest import Precision
from jetvla.runtime.policy.language import Language
from jetvla.runtime.policy.precision import choose_precision


class Step(NamedTuple):
    """One answer: float32 [H, D] in physical units, how many tokens of the sentence were cut, and times."""

    actions: NDArray[np.float32]
    cut: int
    tokenize_ns: int
    language_ns: int
    step_ns: int


class Model:
    """Language and step graph of one precision.

    Raises:
        EngineError: if a graph cannot be loaded.
    """

    def __init__(
        self, bundle: Bundle, backend: Backend, precision: Precision, options: EngineOptions, clock: Clock
    ) -> None:
        manifest = bundle.manifest
        self.bundle, self.precision, self.clock = bundle, precision, clock
        self.key = _key(bundle, backend, precision, options)
        self._step = _open(bundle, backend, f"step.{precision}", options)
        self._language = None
        if manifest.text is not None:
            engine = _open(bundle, backend, "language.fp32", options)
            self._language = Language(bundle, manifest.text, engine, clock)

    def forget(self) -> None:
        """Read the next sentence anew: what a self-test read is not what an operator said."""
        if self._language is not None:
            self._language.forget()

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
    """Open a bundle's graphs as the configuration says.

    Raises:
        EngineError: if there is no such backend or precision, or a graph cannot be loaded.
    """
    backend = load_backend(config.backend)
    precision = choose_precision(bundle.manifest, config.precision, backend.name)
    options = EngineOptions(threads=None if config.threads == "auto" else config.threads)
    return Model(bundle, backend, precision, options, clock)


def _open(bundle: Bundle, backend: Backend, name: str, options: EngineOptions) -> Engine:
    graph = bundle.manifest.graphs[name]
    return backend.open(bundle.file(graph.file), graph, options)


def _key(bundle: Bundle, backend: Backend, precision: Precision, options: EngineOptions) -> EngineKey:
    file = bundle.manifest.graphs[f"step.{precision}"].file
    return EngineKey(
        graph=bundle.manifest.files[file].sha256,
        backend=backend.name,
        backend_version=backend.version(),
        machine=Machine.here(),
        options=(("spinning", str(options.spinning)), ("threads", str(options.threads or "auto"))),
    )
