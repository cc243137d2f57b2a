"""A camera that no longer shows the world is told."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from jetvla.runtime.cameras.health import FROZEN_FRAMES, FrameHealth, HealthMonitor
from jetvla.runtime.contracts import Frame

_random = np.random.default_rng(0)


def noise() -> NDArray[np.uint8]:
    return _random.integers(40, 200, (48, 64, 3), np.uint8)


def checked(images: list[NDArray[np.uint8]], times: list[int] | None = None) -> list[FrameHealth]:
    monitor = HealthMonitor()
    times = times or list(range(len(images)))
    return [monitor.check(Frame("front", i.copy(), s, t)) for s, (i, t) in enumerate(zip(images, times, strict=True))]


def test_a_live_camera_is_healthy() -> None:
    assert set(checked([noise() for _ in range(20)])) == {FrameHealth()}


def test_equal_images_are_frozen_from_the_fifth_on_until_one_differs() -> None:
    same = noise()
    flags = [h.frozen for h in checked([same] * (FROZEN_FRAMES + 1) + [noise()])]
    assert flags == [False] * 4 + [True] * 2 + [False]


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 1), (47, 63), (17, 5)])
def test_one_changed_pixel_anywhere_is_life(row: int, column: int) -> None:
    images = [noise()]
    for number in range(10):
        images.append(images[-1].copy())
        images[-1][row, column, 0] = number
    assert not any(h.frozen for h in checked(images))


def test_a_stuck_stamp_is_frozen() -> None:
    flags = [h.frozen for h in checked([noise() for _ in range(7)], [5, 9, 9, 9, 9, 9, 10])]
    assert flags == [False] * 5 + [True, False]


def test_darkness() -> None:
    assert [h.dark for h in checked([noise(), noise() // 40, noise() // 10])] == [False, True, False]


def test_the_first_frame_may_be_dark() -> None:
    assert checked([noise() * 0])[0].dark


def test_a_changed_size_is_told_until_it_is_back() -> None:
    flags = [h.size_changed for h in checked([noise(), noise()[:24], noise()[:24], noise()])]
    assert flags == [False, True, True, False]


def test_time_going_back() -> None:
    flags = [h.time_back for h in checked([noise() for _ in range(4)], [10, 20, 19, 21])]
    assert flags == [False, False, True, False]
