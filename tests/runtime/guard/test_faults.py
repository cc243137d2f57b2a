"""The table of faults."""

from __future__ import annotations

import pytest

from jetvla.runtime.guard.faults import FAULTS, Reaction

LATCHING = {"estop", "bad_chunk", "violation", "excess", "broken_clock", "seam", "travel", "following"}


@pytest.mark.parametrize("name", FAULTS)
def test_reactions_are_those_of_the_safety_specification(name: str) -> None:
    expected = Reaction.LATCH if name in LATCHING else Reaction.STOP
    if name == "instruction_expired":
        expected = Reaction.HOLD
    assert FAULTS[name].reaction is expected
    assert FAULTS[name].name == name
    assert FAULTS[name].meaning
