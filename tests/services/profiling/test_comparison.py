"""Two profiles compared: what differs is found, what does not is not, and what has no sense is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jetvla.runtime.errors import TelemetryError
from jetvla.runtime.telemetry.power.throttling import Counter, Throttling
from jetvla.services.cli import main
from jetvla.services.profiling.comparison import compare
from jetvla.services.profiling.page import page_of
from jetvla.services.profiling.record import BackToBack, Profile

from .conftest import ENVIRONMENT, USUAL_MS

Make = Callable[..., Profile]


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[str]]:
    def write(*profiles: Profile) -> list[str]:
        paths = [tmp_path / f"{index}.json" for index in range(len(profiles))]
        for path, profile in zip(paths, profiles, strict=True):
            path.write_text(profile.as_json())
        return [str(path) for path in paths]

    return write


def test_two_draws_of_one_distribution_differ_in_nothing(make_profile: Make) -> None:
    comparison = compare(make_profile(seed=1), make_profile(seed=2))
    assert comparison.slower == ()
    assert comparison.most_changed is None
    assert comparison.warnings == ()


@pytest.mark.parametrize("stage", USUAL_MS)
def test_twenty_milliseconds_more_are_found_in_their_stage(make_profile: Make, stage: str) -> None:
    comparison = compare(make_profile(seed=1), make_profile({stage: USUAL_MS[stage] + 20}, seed=2))
    assert set(comparison.slower) == {stage, "age"}
    assert comparison.most_changed is not None
    assert comparison.most_changed.stage == stage
    back = compare(make_profile({stage: USUAL_MS[stage] + 20}, seed=2), make_profile(seed=1))
    assert back.slower == ()
    assert back.most_changed is not None
    assert back.most_changed.change == "faster"


def test_a_tail_alone_is_found_in_the_p99(make_profile: Make) -> None:
    before = make_profile(count=1000)
    step = before.stages["step"]
    samples = tuple(us + 20_000 if index % 25 == 0 else us for index, us in enumerate(step.samples_us))
    after = replace(before, stages=before.stages | {"step": replace(step, samples_us=samples)})
    (found,) = (s for s in compare(before, after).stages if s.stage == "step")
    assert found.change == "no difference seen"
    assert found.tail is not None
    assert found.tail.low > 5
    assert compare(before, after).slower == ("step",)


def test_too_few_samples_say_nothing(make_profile: Make) -> None:
    few = compare(make_profile(count=10), make_profile({"step": 30}, count=10))
    assert [s.median for s in few.stages] == [None] * len(few.stages)
    some = compare(*(replace(make_profile(times, count=100), seconds=20.0) for times in ({}, {"step": 30})))
    assert all(s.median is not None and s.tail is None for s in some.stages)


def test_a_short_run_says_nothing_however_many_samples_it_has(make_profile: Make) -> None:
    """300 samples in three seconds: what kept the machine busy in one of them is a third of all."""
    short = [replace(make_profile(times, count=300), seconds=3.0) for times in ({}, {"step": 30})]
    assert compare(*short).outcome == "not judged"


def test_less_than_a_twentieth_is_no_difference_however_sure(make_profile: Make) -> None:
    before = make_profile(count=1000)
    step = before.stages["step"]
    less, more = (
        replace(before, stages=before.stages | {"step": replace(step, samples_us=scaled)})
        for scaled in (tuple(us * factor for us in step.samples_us) for factor in (1.04, 1.07))
    )
    (little,) = (s for s in compare(before, less).stages if s.stage == "step")
    assert little.median is not None
    assert little.median.low > 1
    assert little.change == "no difference seen"
    assert compare(before, less).slower == ()
    assert compare(before, more).slower == ("step",)


def test_what_nobody_would_notice_is_no_difference_however_sure(make_profile: Make) -> None:
    """A wake-up that is 0.02 ms later, of 0.05: the cache was another one."""
    comparison = compare(make_profile(), make_profile({"wake": 0.07}))
    (wake,) = (s for s in comparison.stages if s.stage == "wake")
    assert wake.median is not None
    assert wake.median.low > 1.2
    assert (wake.change, comparison.slower) == ("no difference seen", ())


def test_the_medians_that_are_told_are_those_of_the_ratio(make_profile: Make) -> None:
    """The newest samples are kept and judged; the percentiles of all say something else."""
    before = make_profile()
    all_of_it = replace(before.stages["step"], p50=100.0, p99=900.0)
    after = replace(before, stages=before.stages | {"step": all_of_it})
    for s in compare(before, after).stages:
        assert s.median is not None
        assert s.after / s.before == pytest.approx(s.median.value)
        assert s.after_p99 == s.before_p99


@pytest.mark.parametrize("stage", ["age", "link", "step"])
@pytest.mark.parametrize("left", [0, 3])
def test_a_stage_that_does_not_run_any_more_is_no_pass(
    make_profile: Make, files: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], stage: str, left: int
) -> None:
    before, after = make_profile(seed=1), make_profile(seed=2)
    stages = {name: figures for name, figures in after.stages.items() if name != stage}
    if left:
        stages[stage] = make_profile(count=left).stages[stage]
    after = replace(after, stages=stages)
    assert main(["compare", *files(before, after)]) == 1
    said = f"{stage} ran 300 times before, and {left or 'never'} after"
    assert f"not judged: {said}" in " ".join(capsys.readouterr().out.split())
    page = page_of(after, before)
    assert said in page
    assert "Nothing is slower" not in page


def test_a_comparison_of_too_few_samples_is_no_pass(
    make_profile: Make, files: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    few = make_profile(count=5)
    assert main(["compare", *files(few, few)]) == 1
    shown = capsys.readouterr().out
    assert "not judged: too few samples of capture, preprocess, step, link, wake, guard, publish, age" in shown
    assert "no difference" not in shown
    assert "Nothing is slower" not in page_of(few, few)


@pytest.mark.parametrize("stage", ["age", "step"])
def test_what_is_asked_for_first_must_be_judged(make_profile: Make, stage: str) -> None:
    made = make_profile()
    few = replace(made, stages=made.stages | {stage: make_profile(count=15).stages[stage]})
    assert compare(few, few).unjudged == (stage,)
    assert compare(few, few).outcome == "not judged"
    other = replace(made, stages=made.stages | {"capture": make_profile(count=15).stages["capture"]})
    assert compare(other, other).outcome == "not slower"
    assert "Nothing is slower; not judged: capture" in page_of(other, other)


def test_an_instruction_that_was_read_before_is_not_missed(make_profile: Make) -> None:
    after = make_profile()
    before = replace(after, stages=after.stages | {"language": make_profile(count=1).stages["step"]})
    comparison = compare(before, after)
    assert (comparison.outcome, comparison.unjudged) == ("not slower", ("language",))
    assert comparison.warnings == ("only one of them has the stage language",)


def reading(make_profile: Make, *, ms: float = 1.0, count: int = 24, **fields: object) -> Profile:
    """A profile whose two stages of the language ran ``count`` times and took ``ms``."""
    made = make_profile(**fields)
    took = make_profile({"step": ms}, count=count).stages["step"]
    return replace(made, stages=made.stages | {"tokenize": took, "language": took})


@pytest.mark.parametrize("count", [0, 1])
def test_of_a_robot_that_is_only_watched_the_language_is_not_judged_and_that_is_said(
    make_profile: Make, files: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], count: int
) -> None:
    watched = reading(make_profile, count=1, mode="attached") if count else make_profile(mode="attached")
    assert main(["compare", *files(watched, watched)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "not judged: tokenize, language" in shown
    assert "no difference of 5% and 0.05 ms seen in the median of any stage that was judged" in shown
    page = page_of(watched, watched)
    assert "Nothing is slower; not judged: tokenize, language" in page


def test_readings_of_the_instruction_are_judged_one_by_one_but_by_a_larger_change(make_profile: Make) -> None:
    before = reading(make_profile)
    little, much = (compare(before, reading(make_profile, ms=ms)) for ms in (1.2, 1.4))
    assert (little.unjudged, little.slower) == ((), ())
    assert much.slower == ("tokenize", "language")
    assert much.most_changed is not None
    assert much.most_changed.stage in much.slower


def test_a_policy_without_language_is_judged_whole(make_profile: Make) -> None:
    assert compare(make_profile(), make_profile()).unjudged == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"environment": replace(ENVIRONMENT, power_mode="MAXN")}, "power_mode: 15W and MAXN"),
        ({"environment": replace(ENVIRONMENT, cpu_model="another")}, "cpu_model"),
        ({"mode": "saturated"}, "way of measuring: paced and saturated"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_reason_unless_forced(
    make_profile: Make, change: dict[str, object], said: str
) -> None:
    before, after = make_profile(), make_profile(**change)
    with pytest.raises(TelemetryError, match=said):
        compare(before, after)
    assert any(said in warning for warning in compare(before, after, force=True).warnings)


def test_another_bundle_or_camera_is_said(make_profile: Make) -> None:
    after = make_profile(bundle="ff" * 32, setting={"camera": "ros", "instruction": "go"})
    warnings = compare(make_profile(), after).warnings
    assert [w.split(":")[0] for w in warnings] == ["bundle", "camera"]


def test_another_engine_is_said_also_of_daemons_that_ran_anyway(make_profile: Make) -> None:
    attached = {"mode": "attached", "engine": None}
    one, other, untold = (make_profile(**attached, engine_key=key) for key in ("ab" * 32, "cd" * 32, None))
    assert compare(one, one).warnings == ()
    assert compare(one, other).warnings == (f"engine: {'ab' * 32} and {'cd' * 32}",)
    assert compare(one, untold).warnings == (f"engine: {'ab' * 32} and unknown",)


def test_what_held_a_machine_back_during_a_measurement_is_said(make_profile: Make) -> None:
    counted, risen, active = (
        replace(ENVIRONMENT, throttling=Throttling(names, (Counter("oc3", count),)))
        for names, count in (((), 1), ((), 4), (("cpu-throttle-alert",), 1))
    )
    power = make_profile().power
    for fields, said in (
        ({"power": replace(power, held_back=("gpu-throttle-alert",))}, "gpu-throttle-alert"),
        ({"back_to_back": BackToBack(1.0, 1.0, replace(power, held_back=("soc",)))}, "soc"),
        ({"environment": counted, "after": risen}, "oc3 rose by 3"),
        ({"environment": counted, "after": active}, "cpu-throttle-alert"),
    ):
        held = make_profile(**fields)
        assert compare(held, make_profile()).warnings == (f"the former measurement was held back by {said}",)
        assert compare(make_profile(), held).warnings == (f"the newer measurement was held back by {said}",)


def test_the_command_ends_with_the_status_that_it_documents(
    make_profile: Make, files: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(ENVIRONMENT, power_mode="MAXN")
    same, slow, moved = files(make_profile(seed=1), make_profile({"link": 25}, seed=2), make_profile(environment=other))
    assert main(["compare", same, same]) == 0
    assert main(["compare", slow, same]) == 0
    assert main(["compare", same, slow]) == 3
    shown = capsys.readouterr().out
    assert "no difference of 5% and 0.05 ms seen in the median of any stage" in shown
    assert "changed most: link, slower by" in shown
    assert main(["compare", same, moved]) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["compare", same, moved, "--force"]) == 0
    assert "differs: power_mode" in capsys.readouterr().out
