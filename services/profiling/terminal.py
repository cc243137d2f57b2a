"""A profile, and a comparison of two, on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jetvla.services.profiling.bootstrap import CONFIDENCE, Ratio
from jetvla.services.profiling.comparison import SMALLEST, WHOLE_WAY, Change, Comparison, StageChange
from jetvla.services.profiling.record import STOPS, Profile, Verdict
from jetvla.services.profiling.wording import milliseconds, said

_STYLES = {"slower": "red", "faster": "green", "no difference seen": "dim"}


def print_profile(profile: Profile, console: Console) -> None:
    """All but samples and single frames."""
    _line(console, profile.environment.describe())
    _line(console, ", ".join([profile.policy, *_engine(profile), *(f"{n}: {v}" for n, v in profile.setting.items())]))
    if profile.scheduling:
        _line(console, f"guard at {profile.guard_hz:g} Hz, {profile.scheduling}")
    console.print(stage_figures(profile))
    what = "steps" if profile.mode == "engine" else "chunks"
    _line(console, f"{profile.rate_hz:.1f} {what}/s for {profile.seconds:.1f} s; {headline(profile)}", "bold")
    for line in details(profile):
        _line(console, line)
    for verdict in profile.exceeded:
        _line(console, f"over budget: {sentence(verdict)}", "red")
    if profile.budget and not profile.exceeded:
        _line(console, f"within budget: {len(profile.budget)} limits", "green")


def stage_figures(profile: Profile) -> Table:
    """Milliseconds per stage, as percentiles."""
    table = Table(title="milliseconds", title_justify="left")
    table.add_column("stage")
    for column in ("p50", "p90", "p99", "p99.9", "max", "count"):
        table.add_column(column, justify="right")
    for name, f in profile.stages.items():
        table.add_row(name, *(milliseconds(v) for v in (f.p50, f.p90, f.p99, f.p999, f.max)), str(f.count))
    return table


def headline(profile: Profile) -> str:
    """What everybody asks first."""
    if profile.mode == "engine":
        step = profile.stages["step"]
        return f"step p50 {step.p50:.2f} ms, p99 {step.p99:.2f} ms at the control rate"
    age = profile.stages.get(WHOLE_WAY)
    if age is None:
        return "no chunk was obeyed, so there is no frame-to-command age (is the guard armed?)"
    return f"frame-to-command age p50 {age.p50:.1f} ms, p99 {age.p99:.1f} ms"


def details(profile: Profile) -> list[str]:
    """Everything else, a line each."""
    lines = [f"{name}: {text}" for name, text in said(profile)]
    lines += [f"fault of the guard: {fault}, {count} times" for fault, count in profile.stops.items()]
    if profile.lost:
        lines.append(f"{profile.lost} spans were overwritten before they were read")
    return lines


def sentence(verdict: Verdict) -> str:
    """One limit and what was measured."""
    if verdict.what == STOPS and verdict.measured is not None:
        return f"the guard stopped or held the robot {verdict.measured:g} times, allowed are {verdict.limit:g}"
    if verdict.measured is None:
        return f"{verdict.stage} has a limit and never ran"
    if verdict.what.startswith("missed"):
        return f"{verdict.stage} {verdict.what} in {verdict.measured:.2%} of the cases, allowed are {verdict.limit:.2%}"
    over = verdict.measured - verdict.limit
    return (
        f"{verdict.stage} {verdict.what} is {milliseconds(verdict.measured)} ms, {milliseconds(over)} ms above its "
        f"limit of {verdict.limit:g} ms"
    )


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Stage by stage; then what changed most, and what could not be judged."""
    for warning in comparison.warnings:
        _line(console, f"differs: {warning}", "yellow")
    title = f"milliseconds of the newest samples, and after / before; all intervals together hold with {CONFIDENCE:.0%}"
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for column in ("p50 before", "after", "ratio", "p99 before", "after", "ratio"):
        table.add_column(column, justify="right")
    for s in comparison.stages:
        times = (milliseconds(s.before), milliseconds(s.after), milliseconds(s.before_p99), milliseconds(s.after_p99))
        table.add_row(s.stage, *times[:2], _ratio(s.median, s.change), *times[2:], _ratio(s.tail, s.tail_change))
    console.print(table)
    for s in comparison.stages:
        _line(console, outcome(s), _STYLES[s.change])
    _line(console, most(comparison), "bold")
    if comparison.outcome == "not judged":
        _line(console, f"not judged: {unjudged(comparison)}", "red")
    elif comparison.unjudged:
        _line(console, f"not judged: {', '.join(comparison.unjudged)}", "yellow")


def unjudged(comparison: Comparison) -> str:
    """Why the whole is no pass."""
    gone = "; ".join(f"{stage} {what}" for stage, what in comparison.vanished.items())
    few = (
        f"too few samples of {', '.join(comparison.unjudged) or 'any stage'} in one of the profiles; measure for longer"
    )
    return gone or few


def outcome(s: StageChange) -> str:
    """What can be said of one stage."""
    if s.median is None:
        return f"{s.stage}: too few samples to tell"
    tail = s.tail_change
    return f"{s.stage}: {s.change}" + (f"; p99 {tail}" if s.tail is not None and tail != s.change else "")


def most(comparison: Comparison) -> str:
    """The stage that changed most, in words."""
    s = comparison.most_changed
    if comparison.blank:
        return "no stage has enough samples in both profiles"
    if s is None or s.median is None:
        which = "any stage that was judged" if comparison.unjudged else "any stage"
        return f"no difference of {SMALLEST} seen in the median of {which}"
    return (
        f"changed most: {s.stage}, {s.change} by {milliseconds(abs(s.after - s.before))} ms (p50), "
        f"{s.median.value:.2f} times"
    )


def _ratio(ratio: Ratio | None, change: Change) -> Text:
    if ratio is None:
        return Text("–", style="dim")
    return Text(f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f})", style=_STYLES[change])


def _engine(profile: Profile) -> list[str]:
    e = profile.engine
    return [] if e is None else [f"{e.precision} on {e.backend} ({e.variant})"]


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)
