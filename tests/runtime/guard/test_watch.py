"""Faults of link, cameras and peers."""

from __future__ import annotations

import pytest

from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.watch import Watch
from jetvla.runtime.link.protocol import CameraHealth, Health, Hello, Idle, IdleReason, StageTimes

MS = 1_000_000
NOW = 10_000 * MS
GOOD = Hello("ab" * 32, "cd" * 32, True, 0.001)


def health(*cameras: CameraHealth) -> Health:
    return Health(NOW, StageTimes(), cameras)


def camera(age_ms: int = 30, **flags: bool) -> CameraHealth:
    return CameraHealth(0, 1, NOW - age_ms * MS, **flags)


@pytest.fixture
def watch() -> Watch:
    """All is well at NOW."""
    watch = Watch("ab" * 32, Limits())
    watch.hello(GOOD, NOW)
    watch.peers(True, "")
    watch.health(health(camera()), NOW)
    return watch


def test_at_first_nothing_is_known() -> None:
    watch = Watch("ab" * 32, Limits())
    assert watch.faults(NOW) == {
        "peers": "peers of the command topic are not known yet",
        "link_lost": "no policy has connected yet",
    }
    assert not watch.connected


def test_all_is_well(watch: Watch) -> None:
    assert watch.faults(NOW) == {}
    assert watch.connected


def test_silence(watch: Watch) -> None:
    assert watch.faults(NOW + 250 * MS) == {}
    assert watch.faults(NOW + 250 * MS + 1) == {"link_silent": "nothing from the policy for 0.250 s"}


def test_any_message_breaks_the_silence(watch: Watch) -> None:
    later = NOW + 240 * MS
    for speak in (
        lambda: watch.chunk(later),
        lambda: watch.idle(Idle(IdleReason.NO_INSTRUCTION), later),
        lambda: watch.health(health(camera()), later),
        lambda: watch.hello(GOOD, later),
    ):
        watch.hello(GOOD, NOW)
        watch.health(health(), NOW)
        speak()
        assert "link_silent" not in watch.faults(later + 250 * MS)
        assert "link_silent" in watch.faults(later + 251 * MS)


def test_lost_link_hides_what_depends_on_it(watch: Watch) -> None:
    watch.lost("the policy closed the link")
    assert watch.faults(NOW + 10_000 * MS) == {"link_lost": "the policy closed the link"}
    assert not watch.connected


def test_a_new_policy_starts_afresh(watch: Watch) -> None:
    watch.idle(Idle(IdleReason.NO_CAMERA), NOW)
    watch.lost("gone")
    watch.hello(GOOD, NOW)
    assert watch.faults(NOW) == {"no_health": "no health report since the policy connected"}


def test_wrong_bundle_and_golden() -> None:
    watch = Watch("ab" * 32, Limits())
    watch.peers(True, "")
    watch.hello(Hello("ef" * 32, "cd" * 32, False, 0.5), NOW)
    watch.health(health(camera()), NOW)
    faults = watch.faults(NOW)
    assert set(faults) == {"wrong_bundle", "golden"}
    assert "efefefefefef" in faults["wrong_bundle"]
    assert "0.5" in faults["golden"]


def test_health_must_be_recent(watch: Watch) -> None:
    watch.chunk(NOW + 500 * MS)
    assert watch.faults(NOW + 500 * MS) == {}
    assert watch.faults(NOW + 500 * MS + 1) == {"no_health": "no health report for 0.500 s"}


def test_no_camera_is_a_fault_and_no_instruction_is_not(watch: Watch) -> None:
    watch.idle(Idle(IdleReason.NO_INSTRUCTION, "say something"), NOW)
    assert watch.faults(NOW) == {}
    watch.idle(Idle(IdleReason.NO_CAMERA, "front: no device"), NOW)
    assert watch.faults(NOW) == {"no_camera": "front: no device"}
    watch.idle(Idle(IdleReason.NO_CAMERA), NOW)
    assert watch.faults(NOW) == {"no_camera": "the policy waits for a camera"}
    watch.idle(Idle(IdleReason.NO_STATE), NOW)
    assert watch.faults(NOW) == {"no_state": "the policy waits for joint states"}
    watch.chunk(NOW)
    assert watch.faults(NOW) == {}


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (camera(age_ms=201), "stale_frame"),
        (camera(age_ms=150, frozen=True), "frozen_frame"),
        (camera(age_ms=150, dark=True), "dark_frame"),
        (camera(age_ms=150, size_changed=True), "frame_size"),
    ],
)
def test_cameras(watch: Watch, bad: CameraHealth, fault: str) -> None:
    watch.health(health(camera(age_ms=165), bad), NOW)
    faults = watch.faults(NOW)
    assert list(faults) == [fault]
    assert "camera 0" in faults[fault]


def test_frames_of_one_observation_belong_together(watch: Watch) -> None:
    behind = CameraHealth(3, 1, NOW - 71 * MS)
    watch.health(health(camera(age_ms=31), camera(age_ms=60), behind), NOW)
    assert watch.faults(NOW) == {}
    watch.health(health(camera(age_ms=30), CameraHealth(1, 1, NOW - 60 * MS), behind), NOW)
    assert watch.faults(NOW) == {"camera_skew": "camera 3 is 0.041 s behind camera 0"}


def test_a_frame_does_not_age_between_two_reports(watch: Watch) -> None:
    watch.chunk(NOW + 240 * MS)
    assert watch.faults(NOW + 240 * MS) == {}


def test_a_report_that_is_repeated_during_a_long_step_does_not_make_the_frame_old(watch: Watch) -> None:
    watch.health(health(camera()), NOW + 240 * MS)
    assert watch.faults(NOW + 240 * MS) == {}
    later = Health(NOW + 1, StageTimes(), (camera(),))
    watch.health(later, NOW + 240 * MS)
    assert list(watch.faults(NOW + 240 * MS)) == ["stale_frame"]


def test_a_step_takes_its_time_and_the_frame_is_judged_as_of_its_start(watch: Watch) -> None:
    stages = StageTimes(capture=30 * MS, preprocess=10 * MS, tokenize=20 * MS, language=30 * MS, step=300 * MS)
    watch.health(Health(NOW, stages, (camera(age_ms=560),)), NOW)
    assert watch.faults(NOW) == {}
    watch.health(Health(NOW, stages, (camera(age_ms=561),)), NOW)
    assert list(watch.faults(NOW)) == ["stale_frame"]
    watch.health(Health(NOW, StageTimes(step=-(10**9)), (camera(age_ms=100),)), NOW)
    assert watch.faults(NOW) == {}


def test_no_frame_of_any_camera(watch: Watch) -> None:
    watch.health(health(), NOW)
    assert watch.faults(NOW) == {"no_camera": "no camera has given a frame yet"}


def test_peers_and_estop(watch: Watch) -> None:
    watch.peers(False, "second publisher")
    assert watch.faults(NOW) == {"peers": "second publisher"}
    watch.peers(False, "")
    assert watch.faults(NOW) == {"peers": "not matched"}
    watch.peers(True, "ignored")
    watch.set_estop(True)
    assert watch.faults(NOW) == {"estop": "emergency stop is pressed"}
    assert watch.estop
    watch.set_estop(False)
    assert watch.faults(NOW) == {}
