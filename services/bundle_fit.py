"""Do a configuration and a bundle go together? What policy and guard build, without what they open."""

from __future__ import annotations

from collections.abc import Callable

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import Clock, MonotonicClock
from jetvla.runtime.config import Config
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.policy.sight import check_cameras
from jetvla.runtime.policy.state import open_sense
from jetvla.runtime.ros_names import OFF
from jetvla.runtime.sinks.fit import dimensions_of
from jetvla.services.guard_feedback import Feedback, open_feedback
from jetvla.services.recording.guard import NotedGuard


def build_guard(config: Config, bundle: Bundle, clock: Clock) -> tuple[NotedGuard, Feedback | None]:
    """The guard of ``bundle``, and what tells it where the robot is.

    Raises:
        ConfigError: feedback or workspace are none of this bundle's actions.
    """
    feedback = open_feedback(config, bundle.manifest.action, clock)
    guard = NotedGuard(
        bundle.manifest.action,
        ChunkTiming.of(bundle.manifest),
        config.limits,
        config.guard.rate_hz,
        bundle.digest,
        clock,
        needs_deadman=config.guard.deadman != OFF,
        needs_feedback=feedback is not None and feedback.needed,
    )
    return guard, feedback


def refusals(config: Config, bundle: Bundle) -> list[str]:
    """Why policy or guard would not start, in their own words; empty if they would."""
    clock, manifest = MonotonicClock(), bundle.manifest
    parts: list[Callable[[], object]] = [
        lambda: build_guard(config, bundle, clock),
        lambda: check_cameras(config.cameras, manifest),
        lambda: open_sense(config.state, manifest, clock),
        *(lambda output=output: dimensions_of(output, manifest.action) for output in config.guard.outputs),
    ]
    return [why for part in parts if (why := _refusal(part)) is not None]


def unsent(config: Config, spec: ActionSpec) -> str | None:
    """What the guard says of action dimensions that no output takes; ConfigError if an output does not fit."""
    sent = {name for output in config.guard.outputs for name in dimensions_of(output, spec)}
    return unsent_note([name for name in spec.names if name not in sent])


def unsent_note(names: list[str]) -> str | None:
    """One sentence; None if there are none."""
    return f"no output takes the action dimensions {', '.join(names)}" if names else None


def _refusal(part: Callable[[], object]) -> str | None:
    try:
        part()
    except ConfigError as error:
        return str(error)
    return None
