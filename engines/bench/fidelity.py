"""Action error of a trained policy's graphs on episodes that no calibration saw, by way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes import Episode
from jetvla.engines.bench.ways import compiled_variant, default_quantizer
from jetvla.engines.observations import Choice, Observations, Sample, Samples, recorded_observations
from jetvla.engines.parity import Actions, compare
from jetvla.runtime.backends import EngineOptions, load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.manifest import ErrorReport
from jetvla.runtime.policy.language import Language
from jetvla.runtime.policy.model import Model, Variant

DEFAULT_WAY = "onnxruntime.quantization, its defaults"
COMPILED_WAY = "ours, compiled for this CPU: "


@dataclass(frozen=True)
class Fidelity:
    """One way's mean error against the FP32 graph.

    Attributes:
        report: per dimension, in its unit.
        worst_index: the dimension with the largest share of its range, ``worst``.
        mean: of the shares of all dimensions that move.
    """

    way: str
    report: ErrorReport
    worst_index: int
    worst: float
    mean: float


def fidelity(bundle: Bundle, episodes: Sequence[Episode], engines: Path | None) -> list[Fidelity]:
    """Errors of the default quantizer, of ours, and of what was compiled for this CPU (if ``engines`` is given).

    The held-out episodes are those of a build with the same recordings and default options.
    """
    manifest = bundle.manifest
    observations = recorded_observations(episodes, manifest, Choice())
    truth = _actions(bundle, Variant.portable(bundle, "fp32"), observations.held_out)
    with TemporaryDirectory() as folder:
        feeds = BundleFeeds(bundle, observations.calibration)
        ways = [(DEFAULT_WAY, default_quantizer(bundle, feeds, Path(folder)))]
        if "step.int8-fp32" in manifest.graphs:
            ways.append(("ours, INT8, portable graph", Variant.portable(bundle, "int8-fp32")))
        if engines is not None:
            compiled = compiled_variant(bundle, engines)
            ways.append((f"{COMPILED_WAY}{compiled.name}", compiled))
        return [_judged(name, _actions(bundle, v, observations.held_out), truth, observations) for name, v in ways]


def _judged(name: str, actions: Actions, truth: Actions, observations: Observations) -> Fidelity:
    report = compare(actions, truth)
    shares = np.where(observations.moving, np.array(report.mean) / observations.scale, 0.0)
    worst = int(shares.argmax())
    return Fidelity(name, report, worst, float(shares[worst]), float(shares[observations.moving].mean()))


def _actions(bundle: Bundle, variant: Variant, samples: Sequence[Sample]) -> Actions:
    model = Model(bundle, load_backend("onnxruntime"), variant, EngineOptions(), MonotonicClock())
    return np.stack([model.infer(_images(s), s.state, s.instruction).actions for s in samples])


def _images(sample: Sample) -> dict[str, NDArray[np.uint8]]:
    return {f"image_{name}": image[None] for name, image in sample.images.items()}


class BundleFeeds:
    """The step graph's inputs for ``samples``, from the bundle alone."""

    def __init__(self, bundle: Bundle, samples: Samples) -> None:
        self._samples, self._language = samples, None
        if bundle.manifest.text is not None:
            part = Variant.portable(bundle, "fp32").language
            assert part is not None  # the manifest has text
            engine = load_backend("onnxruntime").open(*part, EngineOptions())
            self._language = Language(bundle, bundle.manifest.text, engine, MonotonicClock())

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        for sample in self._samples:
            inputs: dict[str, NDArray[Any]] = dict(_images(sample))
            if sample.state is not None:
                inputs["state"] = sample.state[None]
            if self._language is not None:
                inputs.update(self._language.understand(sample.instruction).outputs)
            yield inputs
