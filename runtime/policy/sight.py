"""All cameras of a policy as one: the frames of an observation, or why there are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from jetvla.runtime.cameras import ImageTopics, open_camera
from jetvla.runtime.cameras.slot import CameraSlot
from jetvla.runtime.clock import NS_PER_S, Clock
from jetvla.runtime.config import CameraConfig
from jetvla.runtime.contracts import Frame
from jetvla.runtime.errors import CameraError, ConfigError
from jetvla.runtime.link.protocol import CameraHealth
from jetvla.runtime.manifest import Manifest

# A frame older than this when a step starts shows a world that is gone (SAFETY: frame age).
MAX_FRAME_AGE_NS = NS_PER_S // 5


def open_sight(
    cameras: Mapping[str, CameraConfig], manifest: Manifest, clock: Clock, topics: ImageTopics | None = None
) -> Sight:
    """The configured cameras, in the manifest's order; each is opened when it is first read.

    Raises:
        ConfigError: if the names differ from the manifest's.
    """
    check_cameras(cameras, manifest)
    names = [camera.name for camera in manifest.cameras]
    slots = [CameraSlot(n, partial(open_camera, n, cameras[n], clock, topics), clock) for n in names]
    return Sight(slots, clock)


def check_cameras(cameras: Mapping[str, CameraConfig], manifest: Manifest) -> None:
    """ConfigError if the names differ from the manifest's."""
    names = [camera.name for camera in manifest.cameras]
    if sorted(names) != sorted(cameras):
        raise ConfigError(
            f"cameras: the bundle has {', '.join(sorted(names))}, and the configuration "
            f"{', '.join(sorted(cameras))}; give the cameras the bundle's names"
        )


class Blind(Exception):
    """No observation can be made now; the message says why. Expected, so no error of the user or of ours."""


class Sight:
    """Reads the cameras in the manifest's order.

    The first camera sets the pace: each observation has a new frame of it. The others give their newest one,
    which a slower camera may have given before.

    Attributes:
        counts: frames that were not used, by reason: ``stale`` and ``time back``.
    """

    def __init__(self, slots: Sequence[CameraSlot], clock: Clock) -> None:
        self._slots = tuple(slots)
        self._clock = clock
        self.counts: Counter[str] = Counter()

    def look(self, timeout_s: float) -> tuple[Frame, ...]:
        """One frame of every camera, none older than :data:`MAX_FRAME_AGE_NS`.

        Raises:
            Blind: if there are none within about ``timeout_s``.
        """
        deadline_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
        first, *others = self._slots
        frames = [self._read(first, deadline_ns)]
        frames += [self._read_or_keep(slot, deadline_ns) for slot in others]
        for frame in frames:
            if not self._usable(frame):
                self.counts["stale"] += 1
                age_ms = (self._clock.now_ns() - frame.t_ns) / 1e6
                raise Blind(f"camera {frame.camera!r}: its newest frame is {age_ms:.0f} ms old")
        return tuple(frames)

    def health(self) -> tuple[CameraHealth, ...]:
        """State of every camera that has given a frame."""
        return tuple(
            CameraHealth(
                index=index,
                seq=slot.frame.seq,
                t_ns=slot.frame.t_ns,
                frozen=slot.health.frozen,
                dark=slot.health.dark,
                size_changed=slot.health.size_changed,
            )
            for index, slot in enumerate(self._slots)
            if slot.frame is not None
        )

    def close(self) -> None:
        for slot in self._slots:
            slot.close()

    def _read_or_keep(self, slot: CameraSlot, deadline_ns: int) -> Frame:
        kept = slot.frame
        if kept is None or not self._usable(kept):
            return self._read(slot, deadline_ns)
        try:
            return self._read(slot, 0)
        except Blind:
            return kept

    def _read(self, slot: CameraSlot, deadline_ns: int) -> Frame:
        left_s = max(0, deadline_ns - self._clock.now_ns()) / NS_PER_S
        try:
            frame = slot.read(left_s)
        except CameraError as error:
            raise Blind(str(error)) from error
        if slot.health.time_back:
            self.counts["time back"] += 1
            raise Blind(f"camera {slot.name!r}: its time went back")
        return frame

    def _usable(self, frame: Frame) -> bool:
        return 0 <= self._clock.now_ns() - frame.t_ns <= MAX_FRAME_AGE_NS
