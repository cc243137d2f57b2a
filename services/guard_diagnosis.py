"""The guard's diagnosis of itself, of the policy and of every camera, for ``/diagnostics``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jetvla.runtime.clock import NS_PER_S
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.core import Guard
from jetvla.runtime.link.protocol import CameraHealth, Health
from jetvla.runtime.telemetry.diagnosis import Diagnosis, Level
from jetvla.runtime.telemetry.status import Status

# A camera whose newest frame is older has ended, whatever the policy says of it.
_STALE_NS = NS_PER_S
# Faults of the guard's table that are the policy's, the worst first.
_POLICY_FAULTS = {
    "wrong_bundle": Level.ERROR,
    "golden": Level.ERROR,
    "link_lost": Level.ERROR,
    "link_silent": Level.STALE,
    "no_health": Level.STALE,
    "no_state": Level.ERROR,
}
_CAMERA_FAULTS = ("no_camera", "stale_frame", "frozen_frame", "dark_frame", "frame_size", "camera_skew")


def diagnose(
    guard: Guard, status: Status, health: Health | None, cameras: Sequence[str], active: bool, now_ns: int
) -> list[Diagnosis]:
    """Of the guard, the policy and ``cameras``, by the names of the manifest.

    Args:
        health: the policy's newest report.
        active: the node's lifecycle permits arming.
    """
    own = {"scheduling": status.scheduling, "ticks": status.ticks, "lifecycle": "active" if active else "inactive"}
    policy = {"chunks": status.chunks} | {f"{name} p99 ms": f"{t['p99']:.3g}" for name, t in status.stages.items()}
    return [
        diagnose_guard(guard.state, status.reason, guard.faults, own),
        diagnose_policy(status.policy, guard.faults, policy),
        *diagnose_cameras(cameras, health, now_ns),
    ]


def diagnose_guard(state: State, reason: str, faults: Mapping[str, str], values: Mapping[str, object]) -> Diagnosis:
    """ERROR while latched, WARN while something of its own keeps it from moving the robot."""
    own = [f"{name}: {why}" for name, why in faults.items() if name not in (*_POLICY_FAULTS, *_CAMERA_FAULTS)]
    level = Level.OK if state in (State.ARMED, State.DISARMED) and not own else Level.WARN
    if state is State.LATCHED:
        level = Level.ERROR
    return Diagnosis("guard", level, f"{state.value}: {'; '.join(own) or reason}", values)


def diagnose_policy(said: str, faults: Mapping[str, str], values: Mapping[str, object]) -> Diagnosis:
    """``said`` is what the policy last did."""
    for name, level in _POLICY_FAULTS.items():
        if name in faults:
            return Diagnosis("policy", level, f"{name}: {faults[name]}", values)
    return Diagnosis("policy", Level.OK, said, values)


def diagnose_cameras(names: Sequence[str], health: Health | None, now_ns: int) -> list[Diagnosis]:
    """One for each camera of the manifest; ``health`` is the policy's newest report."""
    reports = {camera.index: camera for camera in health.cameras} if health is not None else {}
    return [_camera(f"camera {name}", reports.get(index), now_ns) for index, name in enumerate(names)]


def _camera(component: str, camera: CameraHealth | None, now_ns: int) -> Diagnosis:
    if camera is None:
        return Diagnosis(component, Level.STALE, "no frame")
    age_ns = now_ns - camera.t_ns
    values = {"frames": camera.seq + 1, "age_s": f"{age_ns / NS_PER_S:.3f}"}
    flags = {
        "repeats the same image": camera.frozen,
        "is dark": camera.dark,
        "changed its image size": camera.size_changed,
    }
    if wrong := [what for what, found in flags.items() if found]:
        return Diagnosis(component, Level.ERROR, "; ".join(wrong), values)
    if age_ns > _STALE_NS:
        return Diagnosis(component, Level.STALE, "no new frame", values)
    return Diagnosis(component, Level.OK, "frames come", values)
