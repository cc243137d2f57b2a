"""Every arrow of the arming state machine, and no other."""

from __future__ import annotations

from itertools import product

import pytest

from jetvla.runtime.guard.arming import TRANSITIONS, Arming, State

B, D, A, S, L = State.BOOT, State.DISARMED, State.ARMED, State.STOPPING, State.LATCHED
ARROWS = {(B, D), (B, L), (D, A), (D, L), (A, S), (A, L), (S, D), (S, L), (L, D)}
WAY = {B: (), D: (D,), A: (D, A), S: (D, A, S), L: (L,)}


@pytest.mark.parametrize(("old", "new"), list(product(State, State)))
def test_arrows(old: State, new: State) -> None:
    arming = Arming()
    for state in WAY[old]:
        arming.go(state)
    assert arming.state is old
    if (old, new) in ARROWS:
        arming.go(new)
        assert arming.state is new
    else:
        with pytest.raises(ValueError, match=f"no way from {old.value} to {new.value}"):
            arming.go(new)
        assert arming.state is old


def test_latched_leads_to_disarmed_alone() -> None:
    assert TRANSITIONS[L] == {D}


def test_it_boots_in_boot() -> None:
    assert Arming().state is B
