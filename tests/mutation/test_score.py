"""The judge of the mutation run."""

from __future__ import annotations

import pytest

from .score import mistakes, results, score

RUN = [
    *(f"    jetvla.runtime.guard.box.xǁBoxǁ__post_init____mutmut_{n}: killed" for n in range(1, 39)),
    "    jetvla.runtime.guard.axes.x_norms__mutmut_14: survived",
    "    jetvla.runtime.guard.shaper.xǁ_Blockǁ_stop__mutmut_26: timeout",
]
TEXT = "**Same letters** (1). `einsum` takes capital letters as well.\n\n`axes.norms` 14\n"


def test_a_run_whose_survivors_are_explained_is_right() -> None:
    outcomes = results(RUN)
    assert outcomes["shaper._Block._stop 26"] == "timeout"
    assert outcomes["box.Box.__post_init__ 7"] == "killed"
    assert score(outcomes) == 39 / 40
    assert mistakes(outcomes, TEXT) == []


@pytest.mark.parametrize(
    ("more", "text", "wrong"),
    [
        ([], "", "not explained: axes.norms 14"),
        ([], TEXT + "`axes.norms` 3, 15", "explained, and noticed or gone: axes.norms 15"),
        (["jetvla.runtime.guard.axes.x_norms__mutmut_2: not checked"], TEXT, "not tried: axes.norms 2 (not checked)"),
        (["jetvla.runtime.guard.axes.x_norms__mutmut_2: suspicious"], TEXT, "not tried: axes.norms 2 (suspicious)"),
        (
            [
                "jetvla.runtime.guard.axes.x_norms__mutmut_2: survived",
                "jetvla.runtime.guard.axes.x_a__mutmut_1: survived",
            ],
            TEXT + "`axes.norms` 2; `axes.a` 1",
            "92.9% is below 95%",
        ),
    ],
)
def test_what_is_wrong_is_told(more: list[str], text: str, wrong: str) -> None:
    assert wrong in mistakes(results([*RUN, *more]), text)


def test_no_run_is_no_score() -> None:
    assert "0.0% is below 95%" in mistakes({}, "")
    with pytest.raises(ValueError, match="not a result of mutmut: Usage"):
        results(["Usage: mutmut"])
