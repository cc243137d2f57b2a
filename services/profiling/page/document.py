"""Puts the page together. Its one script only makes what is written there easier to point at."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from jetvla.services.profiling.comparison import Comparison, compare
from jetvla.services.profiling.page.distribution import axis_of, spreads
from jetvla.services.profiling.page.facts import facts, tables, verdicts
from jetvla.services.profiling.page.timeline import timeline, told
from jetvla.services.profiling.page.waterfall import waterfalls
from jetvla.services.profiling.record import Figures, Profile
from jetvla.services.profiling.wording import milliseconds
from jetvla.services.receipt.document import Cell
from jetvla.services.receipt.page import environment, style

_HERE = Path(__file__).parent
_SLOWEST = 5


@dataclass(frozen=True, slots=True)
class Jitter:
    """How late the guard's ticks began."""

    facts: tuple[tuple[str, Cell], ...]


def page_of(profile: Profile, former: Profile | None = None, force: bool = False) -> str:
    """HTML text of ``profile``, compared with ``former`` if there is one; the same for the same profiles.

    Raises:
        TelemetryError: if the two cannot be compared, and not ``force``.
    """
    comparison: Comparison | None = None if former is None else compare(former, profile, force)
    before = {} if former is None else former.stages
    axis = axis_of({**profile.stages, **{f"former {name}": f for name, f in before.items()}})
    script = (_HERE / "profile.js").read_text(encoding="utf-8")
    return (
        environment(_HERE)
        .get_template("profile.html")
        .render(
            profile=profile,
            facts=facts(profile),
            verdicts=verdicts(profile, comparison),
            waterfalls=waterfalls(profile.frames),
            timeline=timeline(profile.frames, profile.seconds),
            slowest=_slowest(profile),
            axis=axis.ticks(),
            spreads=spreads(profile.stages, before, axis),
            jitter=_jitter(profile),
            tables=tables(profile, comparison),
            style=style() + Markup((_HERE / "profile.css").read_text(encoding="utf-8")),
            script=Markup(script),  # our own file
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
        .lstrip()
    )


def _slowest(profile: Profile) -> tuple[str, ...]:
    """The slowest frames in words, for who cannot point."""
    age = profile.frames.stages.get("age")
    if age is None:
        return ()
    order = sorted(range(len(age.duration_us)), key=lambda index: -age.duration_us[index])
    return tuple(told(profile.frames, index) for index in order[:_SLOWEST])


def _jitter(profile: Profile) -> Jitter | None:
    wake: Figures | None = profile.stages.get("wake")
    if wake is None:
        return None
    half_ms = 500 / profile.guard_hz
    late = sum(us > half_ms * 1e3 for us in wake.samples_us)
    return Jitter(
        (
            ("Half of the ticks", f"at most {milliseconds(wake.p50)} ms late"),
            ("99 %", f"at most {milliseconds(wake.p99)} ms"),
            ("99.9 %", f"at most {milliseconds(wake.p999)} ms"),
            ("The latest", f"{milliseconds(wake.max)} ms, of {wake.count} ticks"),
            ("Later than half a period", f"{late} of the newest {len(wake.samples_us)} ({milliseconds(half_ms)} ms)"),
        )
    )
