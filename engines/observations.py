"""The observations that a build calibrates with, judges by, and keeps as golden samples.

Memory: the held-out samples (at most :data:`HELD_OUT`) and the features of at most 4096 recorded steps (see
:mod:`jetvla.calibration.features`) are kept; everything else is decoded one sample at a time, so that nothing grows
with the recordings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes import Episode
from jetvla.calibration.episodes.twins import twins
from jetvla.calibration.features import features
from jetvla.calibration.select import Selection, candidates, choose, covering_radius, split
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.errors import EpisodeError
from jetvla.runtime.manifest import CameraSpec, ResizeSpec
from jetvla.runtime.preprocess import Resizer, resize

CALIBRATION, HELD_OUT, GOLDEN = 64, 64, 8
# Random pictures say little: fewer of them.
_RANDOM_CALIBRATION, _RANDOM_HELD_OUT = 4, 4
_HELD_OUT_PART = 0.25
_STILL = 1e-6
_RANDOM_INSTRUCTIONS = ("pick up the red block", "move to the green block", "stop")


class Interface(Protocol):
    """What a policy takes and gives; its settings and its bundle's manifest both say it."""

    @property
    def cameras(self) -> tuple[CameraSpec, ...]: ...

    @property
    def state(self) -> tuple[str, ...]: ...

    @property
    def resize(self) -> ResizeSpec: ...

    @property
    def action(self) -> ActionSpec: ...


@dataclass(frozen=True, eq=False)
class Sample:
    """One observation.

    Attributes:
        images: uint8 [H, W, 3] by the policy's camera name, already resized.
        state: float32 [S] in the policy's order; None if it takes none.
        instruction: a sentence.
        episode, step: where it was recorded.
    """

    images: Mapping[str, NDArray[np.uint8]]
    state: NDArray[np.float32] | None
    instruction: str
    episode: str = ""
    step: int = 0


@dataclass(frozen=True)
class Choice:
    """Which recorded steps calibrate: ``count`` of them, chosen ``how``, the same ones for the same ``seed``."""

    count: int = CALIBRATION
    how: Selection = "covering"
    seed: int = 0


@dataclass(frozen=True)
class Observations:
    """Samples for a build.

    Attributes:
        calibration: activation ranges come from these; recorded ones are decoded anew in each iteration.
        held_out: errors are measured on these; no episode of theirs is in ``episodes``.
        golden: a few of ``held_out``.
        source: where they are from, as the manifest says it.
        choice: how ``calibration`` was chosen.
        episodes: names of the calibration episodes.
        judges: names of the held-out episodes; ``held-out/`` is before one that is also in ``episodes``.
        instructions: the different sentences of the held-out samples and of all that calibration chose from.
        scale: what an action error is divided by, per dimension; float64 [D].
        moving: which dimensions vary in the recordings; bool [D].
        coverage: see :attr:`jetvla.runtime.manifest.CalibrationSpec.coverage`.
    """

    calibration: Samples
    held_out: tuple[Sample, ...]
    golden: tuple[Sample, ...]
    source: Literal["held-out episodes", "random observations"]
    choice: Choice
    episodes: tuple[str, ...]
    judges: tuple[str, ...]
    instructions: tuple[str, ...]
    scale: NDArray[np.float64]
    moving: NDArray[np.bool_]
    coverage: float | None = None

    def calibration_sha256(self) -> str:
        """Digest of the calibration images, states and sentences."""
        sha = hashlib.sha256()
        for sample in self.calibration:
            for name in sorted(sample.images):
                sha.update(name.encode() + b"\0" + sample.images[name].tobytes())
            sha.update(b"" if sample.state is None else sample.state.tobytes())
            sha.update(sample.instruction.encode() + b"\0")
        return sha.hexdigest()


class RecordedSamples:
    """Chosen steps of some episodes, resized as in training; one at a time in memory.

    Args:
        episodes: of one data set.
        chosen: (position in ``episodes``, step), ascending.
    """

    def __init__(self, episodes: Sequence[Episode], chosen: Sequence[tuple[int, int]], settings: Interface) -> None:
        self.episodes, self.chosen, self._settings = episodes, chosen, settings

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterator[Sample]:
        for index, group in groupby(self.chosen, itemgetter(0)):
            yield from self._of(self.episodes[index], [step for _, step in group])

    def _of(self, episode: Episode, steps: Sequence[int]) -> Iterator[Sample]:
        policy = self._settings
        cameras = camera_names(policy, episode)
        resizers = [Resizer(camera.height, camera.width, policy.resize) for camera in policy.cameras]
        states = states_of(policy, episode)
        sentences = episode.instructions
        pictures = [episode.images(cameras[camera.name], steps) for camera in policy.cameras]
        for step, *frames in zip(steps, *pictures, strict=True):
            resized = [to_size(frame) for to_size, frame in zip(resizers, frames, strict=True)]
            images = {camera.name: image for camera, image in zip(policy.cameras, resized, strict=True)}
            state = None if states is None else np.array(states[step])
            yield Sample(images, state, sentences[step], episode.name, step)


Samples = RecordedSamples | tuple[Sample, ...]


def camera_names(policy: Interface, episode: Episode) -> dict[str, str]:
    """The episode's camera for each of the policy's, by name; a single one fits a single one whatever it is called."""
    wanted = [camera.name for camera in policy.cameras]
    if len(wanted) == len(episode.cameras) == 1:
        return {wanted[0]: episode.cameras[0]}
    missing = [name for name in wanted if name not in episode.cameras]
    if missing:
        raise EpisodeError(
            f"{episode.name} has no camera {', '.join(missing)}, only {', '.join(episode.cameras)}; record the "
            "cameras under the policy's names, or name the policy's cameras after them"
        )
    return {name: name for name in wanted}


def states_of(policy: Interface, episode: Episode) -> NDArray[np.float32] | None:
    """The episode's states float32 [T, S] in the policy's order, by name where the recording has names."""
    if not policy.state:
        return None
    states, names = episode.state, episode.state_names
    if states is None:
        raise EpisodeError(
            f"{episode.name} holds no states, and the policy needs {', '.join(policy.state)}; record them too"
        )
    if names is None:
        if states.shape[1] != len(policy.state):
            raise EpisodeError(
                f"{episode.name}: states have {states.shape[1]} numbers, and the policy takes {len(policy.state)}; "
                "give recordings of the robot that it was trained for"
            )
        return states
    missing = [name for name in policy.state if name not in names]
    if missing:
        raise EpisodeError(
            f"{episode.name} records no state {', '.join(missing)}; it has {', '.join(names)}: state the policy's "
            "names with --state-names"
        )
    return states[:, [names.index(name) for name in policy.state]]


def recorded_observations(
    episodes: Sequence[Episode],
    settings: Interface,
    choice: Choice = Choice(),
    judges: Sequence[Episode] | None = None,
) -> Observations:
    """Samples of ``episodes``; a quarter of the episodes is held out unless ``judges`` are given.

    Raises:
        EpisodeError: if nothing could be held out, an episode is in both sets (by whatever name), or cameras, states
            or actions are not the policy's.
    """
    if judges is None:
        used_names, held_names = split([e.name for e in episodes], _HELD_OUT_PART, choice.seed)
        used = [e for e in episodes if e.name in used_names]
        judging = [e for e in episodes if e.name in held_names]
    else:
        used, judging = list(episodes), list(judges)
        both = twins(used, judging)
        if both:
            names = ", ".join(one if one == other else f"{one} (there called {other})" for one, other in both)
            raise EpisodeError(f"episodes both to calibrate with and to judge by: {names}; give others to judge by")
    scale, moving = action_scale([*used, *judging], settings)
    held_out = tuple(RecordedSamples(judging, _spread(judging, HELD_OUT), settings))
    golden = held_out[:: max(1, len(held_out) // GOLDEN)][:GOLDEN]
    calibration, sentences, covered = _chosen(used, settings, choice)
    return Observations(
        calibration,
        held_out,
        golden,
        "held-out episodes",
        choice,
        tuple(e.name for e in used),
        _told_apart(used, judging),
        tuple(sorted(sentences | {sample.instruction for sample in held_out})),
        scale,
        moving,
        covered,
    )


def _told_apart(used: Sequence[Episode], judging: Sequence[Episode]) -> tuple[str, ...]:
    """Names of ``judging``; every data set may have an episode_000000."""
    taken = {e.name for e in used}
    return tuple(f"held-out/{e.name}" if e.name in taken else e.name for e in judging)


def random_observations(settings: Interface, seed: int = 0) -> Observations:
    """Smooth random pictures, for a policy without episodes. Errors measured on them say little."""
    rng = np.random.default_rng(seed)

    def sample(number: int) -> Sample:
        images = {}
        for camera in settings.cameras:
            coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
            images[camera.name] = resize(coarse, camera.height, camera.width, settings.resize)
        state = rng.normal(size=len(settings.state)).astype(np.float32) if settings.state else None
        return Sample(images, state, _RANDOM_INSTRUCTIONS[number % len(_RANDOM_INSTRUCTIONS)], "random", number)

    calibration = tuple(sample(i) for i in range(_RANDOM_CALIBRATION))
    held_out = tuple(sample(i) for i in range(_RANDOM_HELD_OUT))
    declared = [d.range or (0.0, 1.0) for d in settings.action.dimensions]
    scale = np.array([high - low for low, high in declared], np.float64)
    everything = np.ones(len(settings.action), bool)
    choice = Choice(len(calibration), "uniform", seed)
    return Observations(
        calibration, held_out, held_out, "random observations", choice, (), (), _RANDOM_INSTRUCTIONS, scale, everything
    )


def _spread(episodes: Sequence[Episode], count: int) -> list[tuple[int, int]]:
    """``count`` steps at even distances over all episodes."""
    ends = np.cumsum([len(e) for e in episodes])
    picks = np.linspace(0, ends[-1] - 1, min(count, int(ends[-1]))).round().astype(int)
    which = np.searchsorted(ends, picks, side="right")
    return [(int(e), int(p - (ends[e - 1] if e else 0))) for e, p in zip(which, picks, strict=True)]


def _chosen(
    episodes: Sequence[Episode], settings: Interface, choice: Choice
) -> tuple[RecordedSamples, set[str], float]:
    """The samples, all sentences that they were chosen from, and how well they cover."""
    pool = candidates([len(e) for e in episodes], seed=choice.seed)
    cameras = list(camera_names(settings, episodes[0]).values())
    seen = features(episodes, pool, cameras)
    sentences = [sentence for n, steps in groupby(pool, itemgetter(0)) for sentence in _said(episodes[n], steps)]
    picks = choose(seen, sentences, choice.count, choice.seed, choice.how)
    return RecordedSamples(episodes, [pool[i] for i in picks], settings), set(sentences), covering_radius(seen, picks)


def _said(episode: Episode, steps: Iterable[tuple[int, int]]) -> list[str]:
    sentences = episode.instructions
    return [sentences[step] for _, step in steps]


def action_scale(episodes: Iterable[Episode], settings: Interface) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The declared range of each dimension, else the recorded one, else 1; and which dimensions vary at all.

    Recordings without actions (frames, video) leave only the declared ranges, which must then all be there.
    """
    low, high = np.full(len(settings.action), np.inf), np.full(len(settings.action), -np.inf)
    for episode in episodes:
        actions = _actions_of(episode, settings)
        if actions is not None:
            low, high = np.minimum(low, actions.min(axis=0)), np.maximum(high, actions.max(axis=0))
    recorded = np.isfinite(low)
    spread = np.where(recorded, high - low, 0.0)
    moving = np.where(recorded, spread > _STILL, True)
    scale = np.where(moving & recorded, spread, 1.0)
    for index, dimension in enumerate(settings.action.dimensions):
        if dimension.range is not None:
            scale[index] = dimension.range[1] - dimension.range[0]
        elif not recorded[index]:
            raise EpisodeError(
                f"these recordings hold no actions, so the range of {dimension.name!r} is unknown; "
                "state 'range: [smallest, largest]' for every dimension of the action spec"
            )
    return scale, moving


def _actions_of(episode: Episode, settings: Interface) -> NDArray[np.float32] | None:
    """Actions, whose order is the policy's; EpisodeError if they are of another size."""
    actions, spec = episode.actions, settings.action
    if actions is None:
        return None
    if actions.shape[1] != len(spec):
        raise EpisodeError(
            f"{episode.name}: actions have {actions.shape[1]} numbers, and the action spec has {len(spec)} "
            f"dimensions ({', '.join(spec.names)}); give recordings of the robot that the policy was trained for"
        )
    return actions
