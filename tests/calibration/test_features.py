from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from jetvla.calibration.features import features
from jetvla.calibration.select import candidates, choose
from jetvla.runtime.errors import EpisodeError


@dataclass
class FakeEpisode:
    """Step t of camera number c is one colour, ``colours[t] + c``; remembers what was decoded."""

    colours: NDArray[np.uint8]
    state: NDArray[np.float32] | None = None
    name: str = "fake"
    cameras: Sequence[str] = ("front",)
    size: tuple[int, int] = (24, 32)
    action_names: tuple[str, ...] | None = None
    actions: NDArray[np.float32] | None = None
    state_names: tuple[str, ...] | None = None
    fps: float | None = None
    decoded: list[tuple[str, int]] = field(default_factory=list)

    @property
    def instructions(self) -> Sequence[str]:
        return [""] * len(self)

    def images(self, camera: str, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        if camera not in self.cameras:
            raise EpisodeError(f"{self.name} has no camera {camera!r}")
        for step in steps:
            self.decoded.append((camera, step))
            yield np.full((*self.size, 3), self.colours[step] + self.cameras.index(camera), np.uint8)

    def __len__(self) -> int:
        return len(self.colours)


def episode(length: int, seed: int = 0, state: int | None = 3, **more: object) -> FakeEpisode:
    rng = np.random.default_rng(seed)
    states = None if state is None else rng.normal(size=(length, state)).astype(np.float32)
    return FakeEpisode(rng.integers(0, 200, length, np.uint8), states, **more)  # type: ignore[arg-type]


def every_step(episodes: Sequence[FakeEpisode]) -> list[tuple[int, int]]:
    return candidates([len(e) for e in episodes])


def mean_square_length(part: NDArray[np.float32]) -> float:
    return float(np.square(part.astype(np.float64)).sum(axis=1).mean())


@pytest.mark.parametrize("cameras", [("front",), ("front", "wrist")])
def test_image_and_state_weigh_alike(cameras: tuple[str, ...]) -> None:
    """Whatever the units of the state, the number of its dimensions and the number of cameras."""
    episodes = [episode(20, 0, 26, cameras=cameras), episode(30, 1, 26, cameras=cameras)]
    for one in episodes:
        assert one.state is not None
        one.state[:, 0] *= 1000
    found = features(episodes, every_step(episodes))
    pixels = 192 * len(cameras)
    assert found.shape == (50, pixels + 26)
    assert found.dtype == np.float32
    assert mean_square_length(found[:, :pixels]) == pytest.approx(1, rel=1e-4)
    assert mean_square_length(found[:, pixels:]) == pytest.approx(1, rel=1e-4)
    # Of the state, every moving number weighs alike.
    np.testing.assert_allclose(np.square(found[:, pixels:]).mean(axis=0), 1 / 26, rtol=1e-3)


def test_rows_are_those_of_the_pool_in_its_order() -> None:
    episodes = [episode(5, 0, None), episode(4, 1, None)]
    found = features(episodes, [(0, 1), (0, 4), (1, 2)])
    colours = np.array([episodes[0].colours[1], episodes[0].colours[4], episodes[1].colours[2]], np.float64)
    assert episodes[0].decoded == [("front", 1), ("front", 4)]
    assert episodes[1].decoded == [("front", 2)]
    expected = (colours - colours.mean()) / colours.std() / np.sqrt(192)
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 192, axis=1), rtol=1e-4)


def test_each_pixel_of_the_thumbnail_is_the_mean_of_its_area() -> None:
    class Halves(FakeEpisode):
        def images(self, camera: str, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
            for step in steps:
                image = np.zeros((80, 80, 3), np.uint8)
                # A tenth of each area in the left half is bright, and not where its centre is.
                image[:, 0:40:10] = 200 * step
                yield image

    found = features([Halves(np.zeros(2, np.uint8))], [(0, 0), (0, 1)]).reshape(2, 8, 8, 3)
    difference = found[1] - found[0]
    assert np.ptp(difference[:, :4]) == pytest.approx(0, abs=1e-6)
    assert difference[0, 0, 0] > 0.1
    np.testing.assert_array_equal(difference[:, 4:], 0)


def test_what_stands_still_counts_nothing() -> None:
    still = episode(10)
    still.colours[:] = 7
    assert still.state is not None
    still.state[:, 1] = 3.14159
    found = features([still], every_step([still]))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:, :192], 0)
    np.testing.assert_array_equal(found[:, 193], 0)
    assert mean_square_length(found) == pytest.approx(1, rel=1e-4)


def test_an_odd_picture_and_an_odd_state_are_both_covered() -> None:
    usual = episode(300, 0)
    usual.colours[:] = 50
    usual.colours[123] = 255
    assert usual.state is not None
    usual.state[:] = 0
    usual.state[222] = 9
    pool = every_step([usual])
    for seed in range(5):
        assert {123, 222} <= set(choose(features([usual], pool), [""] * 300, 3, seed, "covering").tolist())


def test_only_the_asked_cameras_are_decoded() -> None:
    both = episode(4, cameras=("front", "wrist"))
    assert features([both], every_step([both]), ["wrist"]).shape == (4, 195)
    assert {camera for camera, _ in both.decoded} == {"wrist"}


def test_memory_is_that_of_the_pool_and_not_of_the_data() -> None:
    """The bound of the module's docstring, on data whose images are 30 times as large."""
    count, pixels, numbers = 400, 192, 3
    episodes = [episode(1000, seed, numbers, size=(120, 160)) for seed in range(4)]
    pool = candidates([1000] * 4, count)
    features(episodes, pool[:2])
    tracemalloc.start()
    try:
        features(episodes, pool)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * (4 * count * (pixels + numbers)) + 2 * 120 * 160 * 3 + 200_000


def test_a_camera_that_an_episode_lacks_is_named() -> None:
    episodes = [episode(3), episode(3, name="second", cameras=("top",))]
    with pytest.raises(EpisodeError, match="second has no camera 'front'"):
        features(episodes, every_step(episodes))


@pytest.mark.parametrize(("width", "said"), [(None, "0 state numbers"), (4, "4 state numbers")])
def test_states_that_do_not_agree_are_refused(width: int | None, said: str) -> None:
    episodes = [episode(3, 0, 3, name="first"), episode(3, 1, width, name="second")]
    with pytest.raises(EpisodeError, match=f"second has {said} per step but first has 3"):
        features(episodes, every_step(episodes))


def test_a_state_that_is_not_finite_is_named() -> None:
    bad = episode(5, name="torn")
    assert bad.state is not None
    bad.state[3, 1] = np.nan
    with pytest.raises(EpisodeError, match="torn: the state of step 3 is not finite"):
        features([bad], [(0, 1), (0, 3)])


@pytest.mark.parametrize("pool", [[], [(0, 1), (0, 0)], [(0, 1), (0, 1)]])
def test_a_pool_that_is_empty_or_in_disorder_is_refused(pool: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="must be ascending and not empty"):
        features([episode(3)], pool)
