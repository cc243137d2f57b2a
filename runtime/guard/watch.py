"""What the guard knows of policy, cameras and peers, and which faults follow from it."""

from __future__ import annotations

from collections.abc import Iterator

from jetvla.runtime.clock import NS_PER_S, seconds_to_ns
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.link.protocol import CameraHealth, Health, Hello, Idle, IdleReason

# That it has no instruction is no fault.
_IDLE_FAULTS = {
    IdleReason.NO_CAMERA: ("no_camera", "the policy waits for a camera"),
    IdleReason.NO_STATE: ("no_state", "the policy waits for joint states"),
}


class Watch:
    """Holds the newest reports; :meth:`faults` judges them.

    Args:
        bundle: digest of the bundle that the policy must run.
    """

    def __init__(self, bundle: str, limits: Limits) -> None:
        self._bundle = bundle
        self._silence_ns = seconds_to_ns(limits.link_silence_s)
        self._health_ns = seconds_to_ns(limits.health_age_s)
        self._frame_ns = seconds_to_ns(limits.frame_age_s)
        self._skew_ns = seconds_to_ns(limits.camera_skew_s)
        self._hello: Hello | None = None
        self._heard_ns = 0
        self._lost = "no policy has connected yet"
        self._health: Health | None = None
        self._health_at_ns = self._seen_ns = 0
        self._idle: Idle | None = None
        self._peers = "peers of the command topic are not known yet"
        self._estop = False

    @property
    def connected(self) -> bool:
        """A policy said hello, and its socket is open."""
        return self._hello is not None

    @property
    def estop(self) -> bool:
        return self._estop

    def hello(self, hello: Hello, now_ns: int) -> None:
        self._hello, self._health, self._idle = hello, None, None
        self._heard_ns = self._health_at_ns = now_ns

    def lost(self, reason: str) -> None:
        self._hello, self._health, self._idle = None, None, None
        self._lost = reason

    def chunk(self, now_ns: int) -> None:
        self._idle, self._heard_ns = None, now_ns

    def idle(self, idle: Idle, now_ns: int) -> None:
        self._idle, self._heard_ns = idle, now_ns

    def health(self, health: Health, now_ns: int) -> None:
        # A report that is only repeated, to keep the link alive during a long step, tells nothing about now.
        if health != self._health:
            self._seen_ns = now_ns
        self._health = health
        self._health_at_ns = self._heard_ns = now_ns

    def peers(self, ok: bool, reason: str) -> None:
        self._peers = "" if ok else reason or "not matched"

    def set_estop(self, pressed: bool) -> None:
        self._estop = pressed

    def faults(self, now_ns: int) -> dict[str, str]:
        """Name of each fault that is there at ``now_ns``, with the reason."""
        return dict(self._faults(now_ns))

    def _faults(self, now_ns: int) -> Iterator[tuple[str, str]]:
        if self._estop:
            yield "estop", "emergency stop is pressed"
        if self._peers:
            yield "peers", self._peers
        if self._hello is None:
            yield "link_lost", self._lost
            return
        silence_ns = now_ns - self._heard_ns
        if silence_ns > self._silence_ns:
            yield "link_silent", f"nothing from the policy for {silence_ns / NS_PER_S:.3f} s"
        yield from self._identity(self._hello)
        if self._idle is not None and self._idle.reason in _IDLE_FAULTS:
            fault, meaning = _IDLE_FAULTS[self._idle.reason]
            yield fault, self._idle.text or meaning
        age_ns = now_ns - self._health_at_ns
        if self._health is None:
            yield "no_health", "no health report since the policy connected"
        elif age_ns > self._health_ns:
            yield "no_health", f"no health report for {age_ns / NS_PER_S:.3f} s"
        else:
            yield from self._cameras(self._health)

    def _cameras(self, health: Health) -> Iterator[tuple[str, str]]:
        if not health.cameras:
            yield "no_camera", "no camera has given a frame yet"
        yield from self._skew(health.cameras)
        s = health.stages
        for camera in health.cameras:
            yield from self._camera(camera, max(0, s.preprocess + s.tokenize + s.language + s.step))

    def _skew(self, cameras: tuple[CameraHealth, ...]) -> Iterator[tuple[str, str]]:
        """The policy reports the frames of its newest observation."""
        by_time = sorted(cameras, key=lambda camera: camera.t_ns)
        if by_time and (skew_ns := by_time[-1].t_ns - by_time[0].t_ns) > self._skew_ns:
            first, last = by_time[0].index, by_time[-1].index
            yield "camera_skew", f"camera {first} is {skew_ns / NS_PER_S:.3f} s behind camera {last}"

    def _identity(self, hello: Hello) -> Iterator[tuple[str, str]]:
        if hello.bundle != self._bundle:
            yield "wrong_bundle", f"the policy runs bundle {hello.bundle[:12]}, the guard {self._bundle[:12]}"
        if not hello.golden_passed:
            yield "golden", f"golden self-test failed with error {hello.golden_error:g}"

    def _camera(self, camera: CameraHealth, step_ns: int) -> Iterator[tuple[str, str]]:
        # Judged when the report came, less the step before it: the policy looks at frames between steps only, and
        # while it computes a frame only seems to age. What is made of an old frame is bounded by the action's age.
        age_ns = self._seen_ns - step_ns - camera.t_ns
        name = f"camera {camera.index}"
        if age_ns > self._frame_ns:
            yield "stale_frame", f"{name}: newest frame is {age_ns / NS_PER_S:.3f} s old"
        if camera.frozen:
            yield "frozen_frame", f"{name} repeats the same image"
        if camera.dark:
            yield "dark_frame", f"{name} is dark"
        if camera.size_changed:
            yield "frame_size", f"{name} changed its image size"
