"""The self-test at every start: does this engine, on this machine, still compute what the checkpoint did?

Inference libraries have shipped versions that gave wrong numbers for just such models and reported success.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.backends.base import Array
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.errors import BundleError
from jetvla.runtime.policy.model import Model


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """Outcome of the self-test.

    Attributes:
        error: largest |action - golden| over samples, horizon and dimensions, each dimension divided by its
            scale; infinite if any action is not finite.
        tolerance: largest error allowed for the precision.
        samples: how many were run.
    """

    error: float
    tolerance: float
    samples: int

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


@dataclass(frozen=True, slots=True, eq=False)
class GoldenSample:
    """A real observation, and the actions float32 [H, D] that PyTorch gave for it from the checkpoint."""

    images: dict[str, Array]
    state: NDArray[np.float32] | None
    sentence: str
    actions: NDArray[np.float32]


def golden_samples(bundle: Bundle) -> Iterator[GoldenSample]:
    """The samples in ``golden.npz``.

    Raises:
        BundleError: if the file does not hold what the manifest says.
    """
    path, spec = bundle.file(bundle.manifest.golden.file), bundle.manifest.golden
    images = [f"image_{camera.name}" for camera in bundle.manifest.cameras]
    names = [*images, *(("state",) if bundle.manifest.state else ())]
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*names, "instructions", "actions")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} holds no golden samples ({error}); build the bundle again") from error
    shape = (spec.count, bundle.manifest.horizon, len(bundle.manifest.action))
    if arrays["actions"].shape != shape or any(len(array) != spec.count for array in arrays.values()):
        raise BundleError(f"{path} does not hold {spec.count} samples, or not of this policy; build the bundle again")
    for i in range(spec.count):
        state = arrays["state"][i] if bundle.manifest.state else None
        sample = {name: arrays[name][i : i + 1] for name in images}
        yield GoldenSample(sample, state, str(arrays["instructions"][i]), arrays["actions"][i])


def action_error(actions: NDArray[np.float32], truth: NDArray[np.float32], scale: NDArray[np.float64]) -> float:
    """Largest |difference| of actions [H, D], each dimension divided by its scale; infinite if any is not finite."""
    off = np.abs(actions - truth.astype(np.float64)) / scale
    return float(off.max()) if np.isfinite(off).all() else float("inf")


def run_golden(model: Model) -> GoldenResult:
    """Run every golden sample on the opened engine.

    Raises:
        BundleError: if the samples cannot be read or no tolerance is known for the precision.
        EngineError: if the engine failed.
    """
    spec = model.bundle.manifest.golden
    if model.precision not in spec.tolerance:
        raise BundleError(
            f"{model.bundle.path}: the manifest has no golden tolerance for {model.precision}; build it again"
        )
    scale = np.asarray(spec.scale, np.float64)
    worst = 0.0
    for sample in golden_samples(model.bundle):
        actions = model.infer(sample.images, sample.state, sample.sentence).actions
        worst = max(worst, action_error(actions, sample.actions, scale))
    return GoldenResult(worst, spec.tolerance[model.precision], spec.count)
