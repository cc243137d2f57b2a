"""Feedback, pose and switch, seen together."""

from __future__ import annotations

import numpy as np

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.senses import Senses

NOW = 10_000_000_000
SPEC = ActionSpec(dimensions=(ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute"),))


def test_what_is_not_configured_is_no_fault() -> None:
    senses = Senses(SPEC, Limits(), None, needs_deadman=False, needs_feedback=False)
    senses.pose(np.zeros(3), NOW, NOW)
    assert senses.faults(np.array([5.0]), NOW) == {}


def test_everything_that_is_configured_and_missing_is_said() -> None:
    senses = Senses(SPEC, Limits(), None, needs_deadman=True, needs_feedback=True)
    assert list(senses.faults(None, NOW)) == ["deadman", "no_feedback"]
    senses.feedback.take(np.array([1.0]), NOW, NOW)
    senses.deadman.heard(True, NOW)
    assert senses.faults(None, NOW) == {}
    assert list(senses.faults(np.array([1.4]), NOW)) == ["following"]
    # Old feedback says nothing of where the robot is now.
    assert list(senses.faults(np.array([1.4]), NOW + 200_000_000)) == ["no_feedback"]
