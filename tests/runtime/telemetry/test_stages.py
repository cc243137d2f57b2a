"""The table of stages."""

from __future__ import annotations

from dataclasses import fields

from jetvla.runtime.link.protocol import StageTimes
from jetvla.runtime.telemetry.stages import STAGE_NAMES, STAGES


def test_names_are_unique_and_in_the_order_of_the_way() -> None:
    assert STAGE_NAMES == (
        "capture",
        "preprocess",
        "tokenize",
        "language",
        "step",
        "link",
        "wake",
        "guard",
        "publish",
        "age",
    )


def test_the_policy_s_stages_are_those_that_the_link_carries() -> None:
    assert tuple(s.name for s in STAGES if s.process == "policy") == tuple(f.name for f in fields(StageTimes))
