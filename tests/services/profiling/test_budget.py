"""A budget: what may stand in it, and what it says of a profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jetvla.runtime.errors import ConfigError
from jetvla.services.profiling.budget import Budget, load_budget
from jetvla.services.profiling.collector import Misses
from jetvla.services.profiling.page import page_of
from jetvla.services.profiling.record import Profile
from jetvla.services.profiling.terminal import sentence


def written(folder: Path, text: str) -> Budget:
    (folder / "budget.yaml").write_text(text)
    return load_budget(folder / "budget.yaml")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("age: {p50_ms: 20}\nstepp: {p50_ms: 1}\n", 2, "stepp: unknown key"),
        ("age:\n  p50_ms: 20\n  p98_ms: 20\n", 3, "age.p98_ms: unknown key"),
        ("age:\n  p50_ms: -1\n", 2, "age.p50_ms"),
        ("step: {p99_ms: 1}\nage: {p50_ms: 20, p99_ms: 10}\n", 2, "must not fall"),
        ("age: {miss_ratio: 0.1}\n", 1, "needs deadline_ms"),
        ("age: {}\n", 1, "no limit is given"),
        ("", 1, "no stage has a limit"),
        ("age: {deadline_ms: 5, miss_ratio: 1}\n", 1, "miss_ratio"),
        ("age: {p50_ms: 5}\nstops: -1\n", 2, "stops"),
    ],
)
def test_a_mistake_is_named_by_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        written(tmp_path, text)
    assert f"budget.yaml:{line}: " in str(caught.value)
    assert said in str(caught.value)


def test_a_limit_is_held_up_to_itself_and_exceeded_above(tmp_path: Path, make_profile: Callable[..., Profile]) -> None:
    stages = make_profile().stages
    exactly = stages["step"].p99
    held, over = (written(tmp_path, f"step: {{p99_ms: {limit!r}}}").judge(stages, {}) for limit in (exactly, 1.0))
    assert [v.held for v in (*held, *over)] == [True, False]
    assert over[0].measured == exactly


def test_the_farthest_over_its_limit_comes_first_and_is_put_in_words(
    tmp_path: Path, make_profile: Callable[..., Profile]
) -> None:
    profile = make_profile({"preprocess": 21.0})
    budget = written(tmp_path, "step: {p50_ms: 1.4}\npreprocess: {p50_ms: 2}\nage: {p50_ms: 1000}\n")
    judged = replace(profile, budget=budget.judge(profile.stages, {}))
    assert [v.stage for v in judged.exceeded] == ["preprocess", "step"]
    said = sentence(judged.exceeded[0])
    over = profile.stages["preprocess"].p50 - 2
    assert said.startswith("preprocess p50 is ")
    assert f"{over:.2f} ms above its limit of 2 ms" in said


def test_misses_are_allowed_up_to_their_ratio(tmp_path: Path, make_profile: Callable[..., Profile]) -> None:
    stages = make_profile(count=200).stages
    budget = written(tmp_path, "age: {deadline_ms: 15, miss_ratio: 0.01}")
    assert budget.deadlines_ns() == {"age": 15_000_000}
    judged = [budget.judge(stages, {"age": Misses(missed, 200)})[0] for missed in (0, 2, 3)]
    assert [verdict.held for verdict in judged] == [True, True, False]
    assert "missed 15 ms in 1.50% of the cases, allowed are 1.00%" in sentence(judged[2])


def test_a_stage_that_never_ran_holds_no_limit(tmp_path: Path, make_profile: Callable[..., Profile]) -> None:
    stages = {name: f for name, f in make_profile().stages.items() if name != "age"}
    (verdict,) = written(tmp_path, "age: {max_ms: 1000}").judge(stages, {})
    assert not verdict.held
    assert sentence(verdict) == "age has a limit and never ran"


@pytest.mark.parametrize(("allowed", "stopped", "held"), [("", 0, True), ("", 1, False), ("stops: 2", 2, True)])
def test_a_guard_that_stops_holds_no_budget_unless_it_says_how_often(
    tmp_path: Path, make_profile: Callable[..., Profile], allowed: str, stopped: int, held: bool
) -> None:
    made = make_profile()
    budget = written(tmp_path, f"age: {{p99_ms: 1000}}\n{allowed}\n")
    *others, stops = budget.judge(made.stages, {}, stopped)
    assert [v.held for v in (*others, stops)] == [True, held]
    assert sentence(stops) == f"the guard stopped or held the robot {stopped} times, allowed are {2 if allowed else 0}"
    assert f"<td>{stopped}</td>" in page_of(replace(made, budget=(stops,))).replace(' class="number"', "")
    assert budget.judge(made.stages, {}) == tuple(others)


def test_a_file_may_limit_stops_alone(tmp_path: Path) -> None:
    assert written(tmp_path, "stops: 0").limited == {"stops"}
    assert written(tmp_path, "step: {p50_ms: 1}").limited == {"step"}
