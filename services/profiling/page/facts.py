"""What the page says in words and tables."""

from __future__ import annotations

from jetvla.services.profiling.bootstrap import CONFIDENCE, Ratio
from jetvla.services.profiling.comparison import SMALLEST, WHOLE_WAY, Change, Comparison, StageChange
from jetvla.services.profiling.record import STOPS, Profile
from jetvla.services.profiling.record import Verdict as Limit
from jetvla.services.profiling.terminal import most, sentence, unjudged
from jetvla.services.profiling.wording import energy, milliseconds, temperatures, throttling
from jetvla.services.receipt.document import Badge, Bar, Cell, Column, Section, Table, Tone, Verdict
from jetvla.services.receipt.wording import plural

_TONES: dict[Change, Tone] = {"slower": "bad", "faster": "good", "no difference seen": "plain"}
_PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")


def facts(profile: Profile) -> tuple[tuple[str, Cell], ...]:
    """What was measured."""
    engine = profile.engine
    what = () if engine is None else (("Engine", f"{engine.precision} on {engine.backend}, {engine.variant}"),)
    guard = (("Guard", f"{profile.guard_hz:g} Hz, {profile.scheduling}"),) if profile.scheduling else ()
    unit = "steps" if profile.mode == "engine" else "chunks"
    return (
        ("Measured", f"{profile.measured_at}, {profile.seconds:.1f} s, {profile.rate_hz:.1f} {unit}/s"),
        ("Way", profile.mode),
        *((name.capitalize(), text) for name, text in profile.setting.items()),
        *what,
        *guard,
        ("Bundle", profile.bundle),
        ("Machine", profile.environment.describe()),
    )


def verdicts(profile: Profile, comparison: Comparison | None) -> tuple[Verdict, ...]:
    """What everybody asks first."""
    found = [_age(profile), _budget(profile)]
    if profile.mode != "engine":
        found.append(_stops(profile))
    if comparison is not None:
        found.append(_against(comparison))
    return tuple(found)


def _age(profile: Profile) -> Verdict:
    name = "step" if profile.mode == "engine" else WHOLE_WAY
    question = "How long does the step take?" if profile.mode == "engine" else "How old is a command's frame?"
    figures = profile.stages.get(name)
    if figures is None:
        return Verdict(question, "Not known", "No chunk was obeyed.", "bad")
    return Verdict(
        question,
        f"{milliseconds(figures.p50)} ms, p99 {milliseconds(figures.p99)} ms",
        f"At most {milliseconds(figures.max)} ms, in {plural(figures.count, 'sample')}.",
        "plain",
    )


def _budget(profile: Profile) -> Verdict:
    question = "Is it within budget?"
    if not profile.budget:
        return Verdict(question, "No budget was given", "--budget FILE holds every stage to its limits.", "plain")
    if not profile.exceeded:
        return Verdict(question, f"Yes: {plural(len(profile.budget), 'limit')}", "Every limit was held.", "good")
    first = profile.exceeded[0]
    return Verdict(question, f"No: {first.stage}", f"{sentence(first)}.", "bad")


def _stops(profile: Profile) -> Verdict:
    question = "Did the guard find faults?"
    if not profile.stops:
        return Verdict(question, "None", "In the time of the measurement.", "good")
    told = ", ".join(f"{fault} ({count})" for fault, count in profile.stops.items())
    return Verdict(question, f"{plural(sum(profile.stops.values()), 'fault')}", told, "warning")


def _against(comparison: Comparison) -> Verdict:
    question, slower = "Against the former profile?", comparison.slower
    if comparison.outcome == "not judged":
        return Verdict(question, "Not judged", f"{unjudged(comparison)}.", "bad" if comparison.vanished else "warning")
    if slower:
        return Verdict(question, f"Slower: {', '.join(slower)}", most(comparison), "bad")
    if unknown := ", ".join(comparison.unjudged):
        return Verdict(question, f"Nothing is slower; not judged: {unknown}", most(comparison), "plain")
    return Verdict(question, "Nothing is slower", most(comparison), "good")


def tables(profile: Profile, comparison: Comparison | None) -> tuple[Section, ...]:
    """Everything that is no picture."""
    sections = [_stages(profile)]
    if profile.budget:
        sections.append(_limits(profile))
    if comparison is not None:
        sections.append(_comparison(comparison))
    if profile.memory or profile.engine is not None:
        sections.append(_memory(profile))
    if profile.cold_start:
        sections.append(_cold_start(profile))
    return (*sections, _environment(profile))


def _stages(profile: Profile) -> Section:
    rows = tuple(
        (name, *(milliseconds(v) for v in (f.p50, f.p90, f.p99, f.p999, f.max)), str(f.count))
        for name, f in profile.stages.items()
    )
    columns = (Column("stage"), *(Column(name, "number") for name in (*_PERCENTILES, "count")))
    note = f"Percentiles are at most {profile.resolution:.1%} above the exact value and never below; max is exact."
    return Section("Stages", tables=(Table("Milliseconds", columns, rows, note),))


def _limits(profile: Profile) -> Section:
    columns = (Column("stage"), Column("limit"), Column("allowed", "number"), Column("measured", "number"))
    order = [*profile.exceeded, *(v for v in profile.budget if v.held)]
    table = Table("Limits", (*columns, Column("verdict", "word")), tuple(map(_limit, order)))
    return Section("Budget", tables=(table,))


def _limit(v: Limit) -> tuple[Cell, ...]:
    limit, measured = ("–" if value is None else _amount(v, value) for value in (v.limit, v.measured))
    return (v.stage, v.what, limit, measured, Badge("held", "good") if v.held else Badge("exceeded", "bad"))


def _amount(v: Limit, value: float) -> str:
    if v.what == STOPS:
        return f"{value:g}"
    return f"{value:.2%}" if v.what.startswith("missed") else f"{milliseconds(value)} ms"


def _comparison(comparison: Comparison) -> Section:
    numbers = ("p50 before", "p50 after", "ratio", "p99 before", "p99 after", "ratio of p99")
    columns = (Column("stage"), Column("verdict", "word"), *(Column(name, "number") for name in numbers))
    note = (
        "Ratios are after / before, of the newest samples of each run, with intervals of a block bootstrap that hold "
        f"with {CONFIDENCE:.0%} together; a verdict is given where one leaves out 1 and the ratio is at least "
        f"{SMALLEST} off."
    )
    warnings = tuple((f"Differs ({i})", text) for i, text in enumerate(comparison.warnings, 1))
    rows = tuple(map(_change, comparison.stages))
    return Section("Against the former profile", warnings, (Table("After and before", columns, rows, note),))


def _change(s: StageChange) -> tuple[Cell, ...]:
    p50, p99 = (s.before, s.after), (s.before_p99, s.after_p99)
    return (
        s.stage,
        Badge(s.change, _TONES[s.change]) if s.median is not None else "too few samples",
        *map(milliseconds, p50),
        _ratio(s.median, s.change),
        *map(milliseconds, p99),
        _ratio(s.tail, s.tail_change),
    )


def _ratio(ratio: Ratio | None, change: Change) -> str:
    if ratio is None:
        return "–"
    mark = {"slower": " ▲", "faster": " ▼", "no difference seen": ""}[change]
    return f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f}){mark}"


def _memory(profile: Profile) -> Section:
    sizes = [(f"{m.process} process, peak", m.peak_mb) for m in profile.memory]
    if profile.engine is not None:
        sizes.append(("engine's share", profile.engine.resident_mb))
    largest = max((mb for _, mb in sizes if mb is not None), default=1.0) or 1.0
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, "not known" if mb is None else Bar(f"{mb:.1f} MB", max(mb, 0.0) / largest)) for name, mb in sizes
    )
    note = "Resident memory. The engine's share is what opening it and one step added, in a process of its own."
    return Section("Memory", tables=(Table("Memory", (Column("what"), Column("size", "word")), rows, note),))


def _cold_start(profile: Profile) -> Section:
    last = profile.cold_start[-1].ms or 1.0
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (m.name, Bar(f"{m.ms / 1e3:.2f} s", min(m.ms / last, 1.0))) for m in profile.cold_start
    )
    note = "From the start of the two processes. Files may have been in the kernel's cache."
    return Section("Cold start", tables=(Table("Reached", (Column("what"), Column("after", "word")), rows, note),))


def _environment(profile: Profile) -> Section:
    e, other = profile.environment, profile.back_to_back
    without_pause = () if other is None else (("Energy, back to back", energy(other.power)),)
    clocks = ", ".join(f"{name} {value:g}" for name, value in (("min", e.cpu.min_mhz), ("max", e.cpu.max_mhz)) if value)
    return Section(
        "Environment",
        (
            ("Energy", energy(profile.power)),
            *without_pause,
            ("Temperatures", temperatures(profile)),
            ("Throttling", throttling(profile.power)),
            ("Power mode", e.power_mode or e.machine.power_mode or "not known"),
            ("Processor's clock", f"{e.cpu.governor or 'governor not known'}{', MHz: ' + clocks if clocks else ''}"),
            ("GPU", e.machine.gpu or "none that CUDA shows"),
            ("Virtual machine", {None: "not known", True: "yes", False: "no"}[e.hypervisor]),
            ("Load at the start", "not known" if e.load is None else f"{e.load:.1f} of {e.cores} cores"),
            ("Versions", ", ".join(f"{name} {version}" for name, version in e.versions)),
            ("Engine's key", profile.engine_key or "the guard does not tell it"),
        ),
    )
