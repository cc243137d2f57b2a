"""Two profiles compared: what differs is found, what does not is not, and what has no sense is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jetvla.runtime.errors import TelemetryError
from jetvla.services.cli import main
from jetvla.services.profiling.bootstrap import block_length, ratios_of_quantiles
from jetvla.services.profiling.comparison import compare
from jetvla.services.profiling.record import Profile

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
    some = compare(make_profile(count=100), make_profile({"step": 30}, count=100))
    assert all(s.median is not None and s.tail is None for s in some.stages)


def test_the_interval_repeats_and_holds_the_true_ratio_of_alike_neighbours() -> None:
    """Autocorrelated samples: an interval that took them for independent would be too narrow to hold 1 this often."""
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        slow = np.repeat(rng.lognormal(0, 0.3, (2, 100)), 4, axis=1)
        before, after = slow * rng.lognormal(0, 0.05, (2, 400))
        (ratio,) = ratios_of_quantiles(before, after, (0.5,))
        assert ratio.low <= ratio.value <= ratio.high
        held += ratio.low <= 1 <= ratio.high
    assert held >= 18
    assert (ratio,) == ratios_of_quantiles(before, after, (0.5,))
    assert block_length(1000) == 10


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


def test_the_command_ends_with_the_status_that_it_documents(
    make_profile: Make, files: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(ENVIRONMENT, power_mode="MAXN")
    same, slow, moved = files(make_profile(seed=1), make_profile({"link": 25}, seed=2), make_profile(environment=other))
    assert main(["compare", same, same]) == 0
    assert main(["compare", slow, same]) == 0
    assert main(["compare", same, slow]) == 3
    shown = capsys.readouterr().out
    assert "no difference seen in the median of any stage" in shown
    assert "changed most: link, slower by" in shown
    assert main(["compare", same, moved]) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["compare", same, moved, "--force"]) == 0
    assert "differs: power_mode" in capsys.readouterr().out
