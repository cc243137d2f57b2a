"""A snapshot as a page of a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jetvla.runtime.guard.faults import FAULTS
from jetvla.runtime.telemetry.power import Reading
from jetvla.runtime.telemetry.stage_times import milliseconds
from jetvla.runtime.telemetry.status import Status
from jetvla.services.commands.status import stage_table
from jetvla.services.telemetry.snapshot import Daemon, Snapshot
from jetvla.services.telemetry.window import WINDOW_S

_EVENTS = 8
_BYTES_PER_MB = 1e6
_MW_PER_W = 1000.0
_COLOURS = {"ARMED": "bold green", "STOPPING": "bold yellow", "LATCHED": "bold red"}
_STALE = "bold white on red"
_KINDS = {"clip": "clips", "reject": "rejections", "refusal": "refusals"}


def page(seen: Snapshot) -> Group:
    """Everything that ``seen`` holds; what is stale is marked."""
    parts: list[RenderableType] = [_headline(seen)]
    if seen.status is not None:
        parts += [_about(seen.status), _counts(seen.status)]
    parts += [_rates(seen), _stages(seen), _daemons(seen.daemons)]
    parts += [_printable(daemon.problem) for daemon in seen.daemons if daemon.problem]
    if seen.reading is not None:
        parts += _machine(seen.reading)
    if seen.status is not None:
        parts += [Text("newest events", style="italic"), *map(_printable, seen.status.events[-_EVENTS:])]
    return Group(*parts)


def _printable(text: str) -> Text:
    """Sentences come from outside: a terminal must not take them for its commands."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def _headline(seen: Snapshot) -> Text:
    if seen.status is None:
        return Text.assemble((" NO REPORT ", _STALE), " ", _printable(seen.problem))
    state = Text.assemble((seen.status.state, _COLOURS.get(seen.status.state, "bold")), "  ")
    state.append_text(_printable(seen.status.reason))
    if seen.up:
        return state
    age = "from before the machine was started" if seen.report_age_s < 0 else f"{seen.report_age_s:.0f} s old"
    return Text.assemble((f" STALE: the guard's last report is {age} ", _STALE), " it was ", state)


def _about(status: Status) -> Text:
    lines = (
        f"instruction: {status.instruction or 'none'}",
        f"bundle {status.bundle[:16]}; guard: {status.scheduling}; policy: {status.policy}",
    )
    return Text("\n").join(map(_printable, lines))


def _counts(status: Status) -> Text:
    counts = [f"{words} {status.counts.get(kind, 0)}" for kind, words in _KINDS.items()]
    faults = [f"{name} {status.counts[name]}" for name in FAULTS if name in status.counts]
    return Text(f"since its start: {', '.join(counts)}; faults: {', '.join(faults) or 'none'}")


def _rates(seen: Snapshot) -> Text:
    rates = f"per second: {seen.ticks:.1f} ticks, {seen.chunks:.1f} chunks, {seen.commands:.1f} commands"
    return Text(f"{rates}; newest frame {_ms(seen.frame_age_s)}, newest command {_ms(seen.command_age_s)}")


def _ms(age_s: float | None) -> str:
    return f"none in {WINDOW_S:g} s" if age_s is None else f"{1000 * age_s:.0f} ms ago"


def _stages(seen: Snapshot) -> RenderableType:
    if not seen.stages:
        return Text(f"no stage has run in the last {WINDOW_S:g} s", style="yellow")
    found = {name: milliseconds(percentiles) for name, percentiles in seen.stages.items()}
    return stage_table(found, f"milliseconds, last {WINDOW_S:g} s")


def _daemons(daemons: Iterable[Daemon]) -> Table:
    table = Table("process", "pid", "running", "memory", title="processes", title_justify="left")
    for daemon in daemons:
        if daemon.process is None:
            cells = ("–", Text("not running", style="red"), "–")
        else:
            memory = f"{daemon.process.resident_bytes / _BYTES_PER_MB:.1f} MB"
            cells = (str(daemon.process.pid), Text(_duration(daemon.running_s)), memory)
        table.add_row(daemon.name, *cells)
    return table


def _duration(seconds: float) -> str:
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}"


def _machine(reading: Reading) -> list[RenderableType]:
    heat = ", ".join(f"{t.zone} {t.celsius:.1f} °C" for t in reading.temperatures)
    power = ", ".join(f"{rail.name} {rail.mw / _MW_PER_W:.2f} W" for rail in reading.rails)
    lines = [_printable(f"temperatures: {heat or 'not told'}"), _printable(f"power: {power or reading.note}")]
    if reading.throttling is None:
        lines.append(Text("throttling: not told"))
    elif reading.throttling.active:
        lines.append(Text(f"THROTTLED by {', '.join(reading.throttling.active)}", style="bold yellow"))
    else:
        lines.append(Text("throttling: none"))
    return list(lines)
