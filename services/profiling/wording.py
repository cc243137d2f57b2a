"""Figures of a profile in words, for terminal and page."""

from __future__ import annotations

from collections.abc import Iterator

from jetvla.services.profiling.record import Moment, PowerFigures, Profile


def milliseconds(ms: float) -> str:
    """Two decimals, or one above 100."""
    return f"{ms:.1f}" if ms >= 100 else f"{ms:.2f}"


def said(profile: Profile) -> Iterator[tuple[str, str]]:
    """What is measured beside the stages, as (what, text)."""
    if profile.cold_start:
        yield "cold start", ", ".join(map(_moment, profile.cold_start))
    if memory := _memory(profile):
        yield "memory", memory
    yield "energy", energy(profile.power)
    if (other := profile.back_to_back) is not None:
        yield "back to back", f"{other.rate_hz:.1f} steps/s for {other.seconds:.1f} s; energy: {energy(other.power)}"
    yield "temperatures", temperatures(profile)
    yield "throttling", throttling(profile.power)


def _moment(moment: Moment) -> str:
    return f"{moment.name} {moment.ms / 1e3:.2f} s"


def _memory(profile: Profile) -> str:
    parts = [f"{m.process} {m.peak_mb or 0:.0f} MB at most" for m in profile.memory if m.peak_mb is not None]
    if profile.engine is not None:
        parts.append(f"the engine adds {profile.engine.resident_mb:.0f} MB")
    return ", ".join(parts)


def energy(power: PowerFigures) -> str:
    """Of one action; or why it is not known."""
    if power.millijoules_per_action is None:
        return f"not known: {power.note or _why_unknown(power)}"
    estimate = f", an estimate: {power.gaps} gaps" if power.gaps else ""
    return f"{power.millijoules_per_action:.0f} mJ per action ({power.rail}, {power.watts or 0:.1f} W{estimate})"


def _why_unknown(power: PowerFigures) -> str:
    if power.watts is not None:
        return f"nothing was done, at {power.watts:.1f} W ({power.rail})"
    if power.rail:
        return "power was read too seldom, or too late"
    return "of the rails that the board shows none is known to be the whole"


def temperatures(profile: Profile) -> str:
    """Of the hottest zone before and after."""
    before, after = ({t.zone: t.celsius for t in e.temperatures} for e in (profile.environment, profile.after))
    if not before or not after:
        return "not known: the kernel shows no zone that is awake"
    hottest = max(after, key=lambda zone: after[zone])
    return f"{hottest} {before.get(hottest, after[hottest]):.1f} °C before, {after[hottest]:.1f} °C after"


def throttling(power: PowerFigures) -> str:
    """What held the machine back."""
    if power.held_back is None:
        return "not known: the machine does not tell"
    return ", ".join(power.held_back) or "none"
