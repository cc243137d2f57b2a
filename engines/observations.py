"""The observations that a build calibrates with, judges by, and keeps as golden samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes import Episode
from jetvla.engines.families.settings import PolicySettings
from jetvla.engines.training.samples import check_dimensions
from jetvla.runtime.errors import EpisodeError
from jetvla.runtime.preprocess import resize

CALIBRATION, HELD_OUT, GOLDEN = 64, 64, 8
# Random pictures say little: fewer of them.
_RANDOM_CALIBRATION, _RANDOM_HELD_OUT = 4, 4
_HELD_OUT_PART = 0.25
_STILL = 1e-6
_RANDOM_INSTRUCTIONS = ("pick up the red block", "move to the green block", "stop")


@dataclass(frozen=True, eq=False)
class Sample:
    """``image`` uint8 [H, W, 3], already resized, and a sentence."""

    image: NDArray[np.uint8]
    instruction: str


@dataclass(frozen=True)
class Observations:
    """Samples for a build.

    Attributes:
        calibration: activation ranges come from these.
        held_out: errors are measured on these; from other episodes if there are two or more.
        golden: a few of ``held_out``.
        source: where they are from, as the manifest says it.
        episodes: names of the calibration episodes.
        scale: what an action error is divided by, per dimension; float64 [D].
        moving: which dimensions vary in the recordings; bool [D].
    """

    calibration: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    golden: tuple[Sample, ...]
    source: Literal["held-out episodes", "random observations"]
    episodes: tuple[str, ...]
    scale: NDArray[np.float64]
    moving: NDArray[np.bool_]

    def calibration_sha256(self) -> str:
        """Digest of the calibration images and sentences."""
        sha = hashlib.sha256()
        for sample in self.calibration:
            sha.update(sample.image.tobytes() + sample.instruction.encode() + b"\0")
        return sha.hexdigest()


def recorded_observations(episodes: Sequence[Episode], settings: PolicySettings, seed: int = 0) -> Observations:
    """Samples spread evenly over ``episodes``, a quarter of which are held out.

    Raises:
        EpisodeError: if there is only one episode, so that nothing could be held out, or actions are of another size
            than the action spec says.
    """
    check_dimensions(episodes, settings)
    if len(episodes) < 2:
        raise EpisodeError("a build needs at least two episodes, one of them to judge by; record another")
    order = np.random.default_rng(seed).permutation(len(episodes))
    count = max(1, round(_HELD_OUT_PART * len(episodes)))
    judged = [episodes[i] for i in sorted(order[:count])]
    used = [episodes[i] for i in sorted(order[count:])]
    held_out = _spread(judged, HELD_OUT, settings)
    golden = held_out[:: max(1, len(held_out) // GOLDEN)][:GOLDEN]
    scale, moving = _scale(np.concatenate([e.actions for e in episodes]), settings)
    calibration = _spread(used, CALIBRATION, settings)
    names = tuple(e.name for e in used)
    return Observations(calibration, held_out, golden, "held-out episodes", names, scale, moving)


def random_observations(settings: PolicySettings, seed: int = 0) -> Observations:
    """Smooth random pictures, for a policy without episodes. Errors measured on them say little."""
    rng = np.random.default_rng(seed)
    camera = settings.cameras[0]

    def sample(number: int) -> Sample:
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        image = resize(coarse, camera.height, camera.width, settings.resize)
        return Sample(image, _RANDOM_INSTRUCTIONS[number % len(_RANDOM_INSTRUCTIONS)])

    calibration = tuple(sample(i) for i in range(_RANDOM_CALIBRATION))
    held_out = tuple(sample(i) for i in range(_RANDOM_HELD_OUT))
    scale, _ = _scale(np.zeros((1, len(settings.action))), settings)
    everything = np.ones(len(settings.action), bool)
    return Observations(calibration, held_out, held_out, "random observations", (), scale, everything)


def _spread(episodes: Sequence[Episode], count: int, settings: PolicySettings) -> tuple[Sample, ...]:
    camera = settings.cameras[0]
    steps = [(episode, step) for episode in episodes for step in range(len(episode))]
    chosen = np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int)
    samples = []
    for episode, step in (steps[i] for i in chosen):
        image = resize(episode.image(step), camera.height, camera.width, settings.resize)
        samples.append(Sample(image, episode.instructions[step]))
    return tuple(samples)


def _scale(
    actions: NDArray[np.float64] | NDArray[np.float32], settings: PolicySettings
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The declared range of each dimension, else the recorded one, else 1."""
    recorded = np.ptp(actions.astype(np.float64), axis=0)
    moving = recorded > _STILL
    scale = np.where(moving, recorded, 1.0)
    for index, dimension in enumerate(settings.action.dimensions):
        if dimension.range is not None:
            scale[index] = dimension.range[1] - dimension.range[0]
    return scale, moving
