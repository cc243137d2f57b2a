"""Cameras may come late, fail, be slow or old: an observation is fresh, or there is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from jetvla.runtime.cameras import Camera, CameraEnded, CameraTimeout
from jetvla.runtime.cameras.fake import ScriptedCamera
from jetvla.runtime.cameras.slot import RETRY_S, CameraSlot
from jetvla.runtime.clock import NS_PER_S, FakeClock, seconds_to_ns
from jetvla.runtime.config import FramesCamera
from jetvla.runtime.contracts import Frame
from jetvla.runtime.errors import CameraError, ConfigError
from jetvla.runtime.policy.sight import Blind, Sight, open_sight

_random = np.random.default_rng(0)


def frame(seq: int, t_ns: int, camera: str = "front") -> Frame:
    return Frame(camera, _random.integers(0, 256, (8, 8, 3), np.uint8), seq, t_ns)


class Factory:
    """Opens one prepared camera after the other; an error is raised instead."""

    def __init__(self, *cameras: Camera | CameraError) -> None:
        self._cameras = list(cameras)
        self.calls = 0

    def __call__(self) -> Camera:
        self.calls += 1
        camera = self._cameras.pop(0)
        if isinstance(camera, CameraError):
            raise camera
        return camera


def slot(clock: FakeClock, *cameras: Camera | CameraError, name: str = "front") -> tuple[CameraSlot, Factory]:
    factory = Factory(*cameras)
    return CameraSlot(name, factory, clock), factory


def test_a_camera_that_is_not_there_is_tried_again_every_second() -> None:
    clock = FakeClock()
    late, factory = slot(clock, *[CameraError("no such device")] * 3, ScriptedCamera("front", [frame(0, 1)], clock))
    start_ns, opened_s = clock.now_ns(), []
    for _ in range(30):
        with pytest.raises(CameraError, match="no such device"):
            late.read(0.1)
        if factory.calls > len(opened_s):
            opened_s.append((clock.now_ns() - start_ns) / NS_PER_S)
    assert opened_s == [0.0, 1.0, 2.0]
    assert late.read(0.1).seq == 0
    assert clock.now_ns() - start_ns == 3 * NS_PER_S
    assert late.failures == 3


def test_waiting_for_a_camera_takes_the_time_out_and_does_not_spin() -> None:
    clock = FakeClock()
    waiting, _ = slot(clock, CameraError("no such device"))
    with pytest.raises(CameraError):
        waiting.read(0.1)
    before = clock.now_ns()
    with pytest.raises(CameraError, match="no such device"):
        waiting.read(0.1)
    assert clock.now_ns() - before == 100_000_000


def test_a_camera_that_fails_is_closed_and_opened_again() -> None:
    clock = FakeClock()
    broken = ScriptedCamera("front", [frame(0, 1), CameraError("cable")], clock)
    failing, factory = slot(clock, broken, ScriptedCamera("front", [frame(0, 2)], clock))
    failing.read(0.1)
    with pytest.raises(CameraError, match="cable"):
        failing.read(0.1)
    assert broken.closed
    clock.advance(RETRY_S)
    assert failing.read(0.1).t_ns == 2
    assert factory.calls == 2


def test_a_time_out_is_no_failure() -> None:
    clock = FakeClock()
    slow, factory = slot(clock, ScriptedCamera("front", [None, None, frame(0, 1)], clock))
    for _ in range(2):
        with pytest.raises(CameraTimeout):
            slow.read(0.1)
    assert slow.read(0.1).seq == 0
    assert (factory.calls, slow.failures) == (1, 0)


def test_a_stream_that_is_over_is_not_played_again() -> None:
    clock = FakeClock()
    over, factory = slot(clock, ScriptedCamera("front", [frame(0, 1)], clock))
    over.read(0.1)
    for _ in range(50):
        with pytest.raises(CameraEnded):
            over.read(0.1)
    assert factory.calls == 1


def test_health_is_watched_anew_after_a_camera_came_back() -> None:
    clock = FakeClock()
    small = Frame("front", np.full((4, 4, 3), 99, np.uint8), 0, 5)
    first = ScriptedCamera("front", [frame(0, 50), CameraError("cable")], clock)
    again, _ = slot(clock, first, ScriptedCamera("front", [small], clock))
    again.read(0.1)
    with pytest.raises(CameraError):
        again.read(0.1)
    clock.advance(RETRY_S)
    again.read(0.1)
    assert not again.health.size_changed
    assert not again.health.time_back


def sight(clock: FakeClock, **scripts: list[Frame | CameraError | None]) -> Sight:
    return Sight([slot(clock, ScriptedCamera(n, s, clock), name=n)[0] for n, s in scripts.items()], clock)


def test_an_observation_has_a_frame_of_every_camera_in_order() -> None:
    clock = FakeClock()
    now = clock.now_ns()
    both = sight(clock, left=[frame(0, now, "left")], right=[frame(0, now, "right")])
    assert [f.camera for f in both.look(0.1)] == ["left", "right"]


@pytest.mark.parametrize(("age_s", "fresh"), [(0.0, True), (0.2, True), (0.201, False), (-0.001, False)])
def test_a_frame_older_than_200_ms_or_of_the_future_is_not_used(age_s: float, fresh: bool) -> None:
    clock = FakeClock()
    one = sight(clock, front=[frame(0, clock.now_ns() - seconds_to_ns(age_s))])
    if fresh:
        assert one.look(0.1)
        assert one.counts["stale"] == 0
    else:
        with pytest.raises(Blind, match="'front': its newest frame is"):
            one.look(0.1)
        assert one.counts["stale"] == 1


def test_the_first_camera_sets_the_pace_and_a_slower_one_may_repeat_itself() -> None:
    clock = FakeClock()
    now = clock.now_ns()
    fast = [frame(i, now, "fast") for i in range(3)]
    both = sight(clock, fast=[fast[0], fast[1], None], slow=[frame(0, now, "slow"), None, None])
    assert [f.seq for f in both.look(0.1)] == [0, 0]
    before = clock.now_ns()
    assert [f.seq for f in both.look(0.1)] == [1, 0]
    assert clock.now_ns() == before
    with pytest.raises(Blind, match="'fast': no frame"):
        both.look(0.1)


def test_a_repeated_frame_ages_too() -> None:
    clock = FakeClock()
    now = clock.now_ns()
    later = now + seconds_to_ns(0.3)
    both = sight(clock, fast=[frame(0, now, "fast"), frame(1, later, "fast")], slow=[frame(0, now, "slow"), None])
    both.look(0.1)
    clock.advance(0.3)
    with pytest.raises(Blind, match="'slow': no frame"):
        both.look(0.1)


def test_a_frame_whose_time_went_back_is_not_used() -> None:
    clock = FakeClock()
    now = clock.now_ns()
    one = sight(clock, front=[frame(0, now), frame(1, now - 1), frame(2, now)])
    one.look(0.1)
    with pytest.raises(Blind, match="time went back"):
        one.look(0.1)
    assert one.counts["time back"] == 1
    assert one.look(0.1)[0].seq == 2


def test_health_tells_of_every_camera_that_has_given_a_frame() -> None:
    clock = FakeClock()
    now = clock.now_ns()
    dark = Frame("right", np.zeros((8, 8, 3), np.uint8), 7, now)
    both = sight(clock, left=[None, frame(3, now, "left")], right=[dark])
    assert both.health() == ()
    with pytest.raises(Blind):
        both.look(0.05)
    assert both.health() == ()
    both.look(0.05)
    left, right = both.health()
    assert (left.index, left.seq, left.t_ns, left.dark) == (0, 3, now, False)
    assert (right.index, right.seq, right.dark) == (1, 7, True)


def test_the_configured_cameras_must_be_the_bundles(make_bundle: Callable[..., object], tmp_path: object) -> None:
    manifest = make_bundle().manifest
    config = FramesCamera.model_validate({"kind": "frames", "path": "images"})
    for names in (["top"], ["front", "top"], []):
        with pytest.raises(ConfigError, match="the bundle has front"):
            open_sight(dict.fromkeys(names, config), manifest, FakeClock())
    one = open_sight({"front": config}, manifest, FakeClock())
    with pytest.raises(Blind, match="images is not a folder"):
        one.look(0.1)
