"""The ways that are compared: the course's, a well-known tool's, and ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.bench.turns import Actions, Way
from jetvla.engines.families.settings import TextSettings
from jetvla.engines.policy import Policy
from jetvla.runtime.backends import EngineOptions, load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.engine_cache import EngineCache, engine_key
from jetvla.runtime.engine_entry import Part
from jetvla.runtime.errors import EngineError
from jetvla.runtime.policy.model import Model, Variant
from jetvla.runtime.preprocess import resize

Feeds = Iterable[Mapping[str, NDArray[Any]]]


def course(policy: Policy, sentence: str) -> Way:
    """PyTorch FP32 eager; tokens, text and image are all computed again for every frame. At batch 1 its tokenizer pads
    nothing."""
    tokens = int(policy.encode([sentence])[1].sum())
    text = TextSettings(max_tokens=tokens)
    bare = dataclasses.replace(policy, settings=policy.settings.model_copy(update={"text": text}))
    return _eager(bare, sentence, f"the course: PyTorch eager, everything every frame, {tokens} tokens")


def padded_course(policy: Policy, sentence: str) -> Way:
    """As :func:`course`, at the fixed length that an exported graph has."""
    assert policy.settings.text is not None
    return _eager(policy, sentence, f"the same, text padded to {policy.settings.text.max_tokens} tokens as in ours")


def _eager(policy: Policy, sentence: str, name: str) -> Way:
    camera, spec = policy.settings.cameras[0], policy.settings.resize

    def act(image: NDArray[np.uint8]) -> Actions:
        return policy.act({camera.name: resize(image, camera.height, camera.width, spec)}, None, sentence)

    return Way(name, act)


def ours(bundle: Bundle, variant: Variant, name: str, threads: int, sentence: str) -> Way:
    """jetvla's runtime on one variant of a bundle's graphs; the language result is kept."""
    model = Model(bundle, load_backend("onnxruntime"), variant, EngineOptions(threads=threads), MonotonicClock())
    return acting(model, name, sentence)


def acting(model: Model, name: str, sentence: str) -> Way:
    """An opened model of one camera."""
    camera, spec = model.bundle.manifest.cameras[0], model.bundle.manifest.resize

    def act(image: NDArray[np.uint8]) -> Actions:
        inputs = {f"image_{camera.name}": resize(image, camera.height, camera.width, spec)[None]}
        return model.infer(inputs, None, sentence).actions

    return Way(name, act)


def compiled_variant(bundle: Bundle, engines: Path) -> Variant:
    """What ``jetvla compile`` chose for this CPU; EngineError if it has not been run."""
    engine = EngineCache(engines).find(engine_key(bundle, load_backend("onnxruntime")))
    if engine is None:
        raise EngineError(f"no engine of {bundle.path} in {engines}; run: jetvla compile {bundle.path} --engines ...")
    return Variant.compiled(bundle, engine)


def default_quantizer(bundle: Bundle, feeds: Feeds, folder: Path) -> Variant:
    """``onnxruntime.quantization`` static INT8 of the FP32 step graph, with all its defaults, calibrated on ``feeds``.

    Args:
        folder: takes the graph.
    """
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            self._feeds: Iterator[Mapping[str, NDArray[Any]]] = iter(feeds)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            feed = next(self._feeds, None)
            return None if feed is None else {name: feed[name] for name in step.inputs}

    step = bundle.manifest.graphs["step.fp32"]
    made = folder / "step.default.onnx"
    big = any(name.startswith(step.file) and name != step.file for name in bundle.manifest.files)
    quantize_static(bundle.file(step.file), made, Reader(), use_external_data_format=big)
    portable = Variant.portable(bundle, "fp32")
    return portable._replace(name="default quantizer", step=Part(made, step.model_copy(update={"file": made.name})))
