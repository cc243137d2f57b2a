"""What an operator relies on while nothing is broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from .rig import Rig, within
from .settings import basic_settings

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def rig(place: Path) -> Iterator[Rig]:
    """Shared, for nothing is broken here."""
    with ExitStack() as resources:
        yield Rig(place, resources, basic_settings(place))


def test_it_never_moves_before_it_is_armed_nor_after_disarm(rig: Rig) -> None:
    rig.mark()
    within(30, lambda: rig.status().chunks > 20, "chunks come")
    assert rig.sent == []
    rig.move()
    assert rig.operator.call("disarm", 5) == "disarm: done"
    within(5, lambda: rig.status().state == "DISARMED", "disarmed")
    published, chunks = len(rig.published()), rig.status().chunks
    within(5, lambda: rig.status().chunks > chunks + 20, "chunks still come")
    assert len(rig.published()) == published
    # Zeros for 2 s after a stop.
    assert np.count_nonzero(rig.published()[-250:] == 0) > 150


def test_a_stop_word_stops_and_an_instruction_never_arms(rig: Rig) -> None:
    rig.move()
    rig.operator.say("Stop!", 10)
    within(5, lambda: rig.status().state == "DISARMED", "disarmed")
    rig.operator.say("move to the blue block", 10)
    within(5, lambda: rig.status().instruction == "move to the blue block", "instruction")
    assert rig.status().state == "DISARMED"
