"""What telemetry costs is measured on the records that the daemons really make. No test judges the figures."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jetvla.runtime.telemetry.span_reader import SpanReader
from jetvla.runtime.telemetry.spans import SpanRing
from jetvla.services.telemetry import cost

NO_IMAGE = np.zeros((1, 1, 3), np.uint8)


def test_a_frame_is_recorded_as_the_daemons_do_it(tmp_path: Path) -> None:
    policy, guard = SpanRing(tmp_path / "policy.spans", 0), SpanRing(tmp_path / "guard.spans", 0)
    cost._policy(policy).act(NO_IMAGE)
    cost._guard(guard, ticks=4).act(NO_IMAGE)
    per_frame = {
        name: {stage: count / cost._FRAMES for stage, count in counted.items()}
        for name in ("policy", "guard")
        for counted in [Counter(s.stage for s in SpanReader(tmp_path / f"{name}.spans").read().spans)]
    }
    assert per_frame == {
        "policy": {"capture": 1, "preprocess": 1, "step": 1},
        "guard": {"link": 1, "age": 1, "wake": 4, "guard": 4, "publish": 4},
    }


def test_the_command_prints_the_shares(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = cost.main([str(tiny_bundle), "--json", str(tmp_path / "cost.json")])
    found = json.loads((tmp_path / "cost.json").read_text())
    assert status == (0 if found["accepted"] >= 20 else 1)
    assert "random-tiny: a step takes" in capsys.readouterr().out
    if found["accepted"]:
        assert found["share"] == pytest.approx((found["policy_us"] + found["guard_us"]) / found["step_us"])
        assert 0 < found["policy_share"] < found["share"]
