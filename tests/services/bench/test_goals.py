"""The table of goals: what is missed is said to be missed, and stands in the document."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from jetvla.engines.bench.choice import Candidate, Choice
from jetvla.engines.bench.fidelity import COMPILED_WAY, DEFAULT_WAY, Fidelity
from jetvla.engines.bench.jitter import GUARD_WAY, Jitter
from jetvla.engines.bench.overhead import Cost, Overhead
from jetvla.engines.bench.profile import TimeShare
from jetvla.engines.bench.ratio import Ratio
from jetvla.engines.bench.speed import Row, Speed
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.manifest import ErrorReport
from jetvla.services.bench import goals
from jetvla.services.bench.__main__ import main
from jetvla.services.bench.beside import Beside, Steps
from jetvla.services.bench.goals import GOALS, Measured, verdict
from jetvla.services.bench.machine import MachineReport
from jetvla.services.bench.memory import Memory
from jetvla.services.bench.results import Results
from jetvla.services.bench.start import ColdStart, Starts
from jetvla.services.bench.table import lines, write_between
from jetvla.services.resident import Resident


def _fidelity(way: str, mean: float) -> Fidelity:
    return Fidelity(way, ErrorReport(samples=64, max=(mean,), mean=(mean,)), 0, mean, mean)


def _row(way: str, ms: float, error: float) -> Row:
    return Row(way, ms, 300.0 / ms, error, 20, 1)


@pytest.fixture
def results() -> Results:
    """Every aim is reached."""
    rows = [_row("course", 300, 0), _row("padded", 310, 0), _row("fp32", 150, 1e-6), _row("default", 130, 0.13)]
    rows += [_row("portable", 60, 0.04), _row("compiled", 40, 0.03)]
    cost = Cost("ours", 0.3, 0.6, 20, 0)
    course = Cost("course", 3.0, 5.0, 20, 0)
    return Results(
        speed=Speed(*rows, TimeShare((("MatMul", 30.0),), 30.0), 2),  # type: ignore[arg-type]  # six rows
        fidelity=(_fidelity(DEFAULT_WAY, 0.16), _fidelity(f"{COMPILED_WAY}fused", 0.0024)),
        choice=Choice("a", (Candidate("a", 40.0, 20, 0), Candidate("b", 50.0, 20, 0))),
        overhead=Overhead(cost, cost, course, course),
        jitter=(Jitter(GUARD_WAY, "fifo", 20, 60, 90, 3000, 40), Jitter("thread", "plain", 100, 5000, 9000, 3000, 0)),
        beside=Beside(Steps(100, 60, 0), Steps(100.5, 60, 0), Ratio(1.005, 0.99, 1.01), 500, 60, "fifo"),
        start=ColdStart(Starts(1.0, 0.9, 1.1, 5, 0), Starts(13.0, 12.0, 14.0, 5, 0), Ratio(13.0, 11.0, 14.0)),
        memory=Memory(Resident(30, 49, 20), Resident(200, 240, 150), Resident(1900, 2000, 1800), 3),
    )


def test_every_goal_has_a_line_and_its_aim_is_seen_to_be_reached(results: Results) -> None:
    rows = lines(results.measured())
    assert [row.goal for row in rows] == [goal.title for goal in GOALS]
    assert {row.verdict for row in rows} == {"aim reached"}
    assert not any(row.failed for row in rows)
    assert rows[0].result == "2.00×, 1e-06"


@pytest.mark.parametrize("values", [(1.4, 1e-6), (2.0, 1e-4), (float("nan"), 1e-6)])
def test_a_missed_gate_is_said_to_be_missed(values: tuple[float, ...]) -> None:
    assert verdict(goals.FP32, Measured(values, "", "", 20, 20)) == "MISSED"


def test_a_gate_without_its_aim_is_only_the_gate(results: Results) -> None:
    memory = dataclasses.replace(results.memory, policy=Resident(400, 440, 300))
    (row,) = [r for r in lines(dataclasses.replace(results, memory=memory).measured()) if "both" in r.goal]
    assert row.verdict == "gate reached"


def test_too_few_samples_reach_nothing(results: Results) -> None:
    assert results.start is not None
    start = dataclasses.replace(results.start, course=Starts(13.0, 12.0, 14.0, 4, 9))
    (row,) = [r for r in lines(dataclasses.replace(results, start=start).measured()) if "cold start" in r.goal]
    assert (row.verdict, row.failed) == ("TOO FEW SAMPLES", True)


@pytest.mark.parametrize(
    "fidelity",
    [
        (_fidelity(DEFAULT_WAY, 0.16), _fidelity(f"{COMPILED_WAY}fused", 0.17)),
        (_fidelity(DEFAULT_WAY, 0.16), _fidelity("ours, INT8, portable graph", 0.01)),
        (_fidelity(f"{COMPILED_WAY}fused", 0.01),),
        None,
    ],
)
def test_int8_of_a_trained_policy_must_be_nearer_than_the_default_quantizer(
    results: Results, fidelity: tuple[Fidelity, ...] | None
) -> None:
    found = dataclasses.replace(results, fidelity=fidelity)
    (row,) = [r for r in lines(found.measured()) if "this CPU" in r.goal]
    assert row.verdict == "MISSED"


def test_what_was_not_measured_is_said_so_and_fails(results: Results) -> None:
    rows = lines(Results(choice=results.choice).measured())
    assert [row.verdict for row in rows].count("not measured") == len(GOALS) - 1
    assert all(row.failed for row in rows if row.verdict == "not measured")


@pytest.fixture
def written(results: Results, tmp_path: Path) -> Path:
    """A folder of figures as the measurements write them."""
    for field in dataclasses.fields(results):
        value = getattr(results, field.name)
        found = [dataclasses.asdict(v) for v in value] if isinstance(value, tuple) else dataclasses.asdict(value)
        (tmp_path / f"{field.name}.json").write_text(json.dumps(found, default=ErrorReport.model_dump), "utf-8")
    return tmp_path


def test_figures_are_read_as_they_were_written(results: Results, written: Path) -> None:
    assert Results.read(written) == results


def test_a_goal_that_could_not_be_judged_ends_in_an_error_and_a_missed_one_does_not(written: Path) -> None:
    jitter = json.loads((written / "jitter.json").read_text())
    jitter[0]["p99_us"] = 999.0
    (written / "jitter.json").write_text(json.dumps(jitter), encoding="utf-8")
    assert main(["goals", str(written)]) == 0
    (written / "jitter.json").unlink()
    assert main(["goals", str(written)]) == 1


def test_a_damaged_file_of_figures_is_named(written: Path) -> None:
    (written / "start.json").write_text('{"ours": 1}', encoding="utf-8")
    with pytest.raises(JetvlaError, match=r"start\.json"):
        Results.read(written)


def test_no_figures_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goals", str(tmp_path)]) == 1
    assert "make bench" in capsys.readouterr().err


def test_the_document_gets_the_table_between_its_markers(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = written / "performance.md"
    document.write_text("before\n\n<!-- goals -->\nformer figures\n<!-- /goals -->\n\nafter\n", encoding="utf-8")
    memory = json.loads((written / "memory.json").read_text())
    memory["guard"]["rss"] = 120.0
    (written / "memory.json").write_text(json.dumps(memory), encoding="utf-8")
    assert main(["goals", str(written), "--write", str(document)]) == 0
    text = document.read_text(encoding="utf-8")
    assert text.startswith("before\n\n<!-- goals -->\nMeasured by")
    assert text.endswith("<!-- /goals -->\n\nafter\n")
    assert "former figures" not in text
    assert "| 120 MB | ≤ 80 MB | ≤ 50 MB | **MISSED** |" in text
    assert text.count("| aim reached |") == len(GOALS) - 1
    assert MachineReport.here().processor in text
    assert "MISSED" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["nothing", "<!-- /goals --> <!-- goals -->", "<!-- goals --> <!-- goals --> <!-- /goals -->"]
)
def test_a_document_without_its_markers_stays_as_it_is(tmp_path: Path, text: str) -> None:
    document = tmp_path / "performance.md"
    document.write_text(text, encoding="utf-8")
    with pytest.raises(JetvlaError, match="<!-- goals -->"):
        write_between(document, "goals", "table")
    assert document.read_text(encoding="utf-8") == text


def test_the_machine_says_what_multiplies_integers(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("model name\t: Some Xeon\nflags\t\t: fpu avx512_vnni\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal:       24000000 kB\n")
    report = MachineReport.here(tmp_path)
    assert str(report).startswith("Some Xeon with AVX-512 VNNI, without AMX, ")
    (tmp_path / "proc/cpuinfo").write_text("model name\t: Some Xeon\nflags\t\t: avx512_vnni amx_int8\n")
    assert str(MachineReport.here(tmp_path)).startswith("Some Xeon with AVX-512 VNNI and AMX, ")
