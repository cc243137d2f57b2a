"""A network's numbers against the names that the recordings give theirs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jetvla.engines.families.settings import ActionNormalization
from jetvla.engines.recorded_names import beyond_ranges, check_action_names, check_state_names
from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.errors import ConfigError

NAMES = ("shoulder", "elbow", "wrist")


class Recorded:
    """What the recordings call their numbers."""

    def __init__(self, *names: str) -> None:
        self.action_names = self.state_names = names or None


def spec_of(*names: str, range: tuple[float, float] | None = None) -> ActionSpec:
    joints = [ActionDimension(name=n, quantity="joint", unit="rad", semantics="absolute", range=range) for n in names]
    return ActionSpec(dimensions=tuple(joints))


def check(folder: Path, names: tuple[str, ...], *recorded: Recorded) -> str | None:
    file = folder / "action.yaml"
    file.write_text("action:\n  dimensions:\n" + "".join(f"    - name: {name}\n" for name in names))
    return check_action_names(spec_of(*names), recorded, file, "action")


@pytest.mark.parametrize("recorded", [(), (Recorded(),), (Recorded(*NAMES), Recorded()), (Recorded("a", "b"),)])
def test_the_recorded_order_and_no_names_are_right(tmp_path: Path, recorded: tuple[Recorded, ...]) -> None:
    assert check(tmp_path, NAMES, *recorded) is None
    check_state_names(NAMES, recorded, "--state-names")


@pytest.mark.parametrize("recorded", [(Recorded(*NAMES),), (Recorded(), Recorded(*NAMES))])
def test_another_order_is_refused_with_its_place(tmp_path: Path, recorded: tuple[Recorded, ...]) -> None:
    message = r"action.yaml:4: action.dimensions.1 is 'wrist', but number 1 of the recorded actions is 'elbow'.* order"
    with pytest.raises(ConfigError, match=message):
        check(tmp_path, ("shoulder", "wrist", "elbow"), *recorded)
    with pytest.raises(ConfigError, match=r"--state-names: state 1 is 'wrist', but number 1 .* is 'elbow'.* order"):
        check_state_names(("shoulder", "wrist", "elbow"), recorded, "--state-names")


def test_a_new_name_does_not_hide_another_order(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dimensions.1 is 'wrist', but number 1 of the recorded actions is 'elbow'"):
        check(tmp_path, ("sholder", "wrist", "elbow"), Recorded(*NAMES))


def test_other_names_are_one_warning(tmp_path: Path) -> None:
    said = check(tmp_path, ("shoulder", "elbo", "wrist"), Recorded(*NAMES), Recorded(*NAMES))
    assert re.fullmatch(r"WARNING: .*action.yaml names .* check them: 1 is 'elbo', recorded as 'elbow'", said or "")
    many = check(tmp_path, tuple("abcdef"), Recorded(*"uvwxyz"))
    assert (many or "").endswith("3 is 'd', recorded as 'x', and 2 more")


def test_a_mean_of_training_beyond_the_range_is_a_warning() -> None:
    spec = spec_of("elbow", "wrist", range=(0.5, 1.0))
    said = beyond_ranges(spec, ActionNormalization(mean=(0.75, -0.25), std=(0.1, 0.2)))
    assert (said or "").endswith("order, unit and range: wrist (-0.25 is not in 0.5 to 1)")
    assert beyond_ranges(spec, ActionNormalization(mean=(0.5, 1.0), std=(0.1, 0.0))) is None
    assert beyond_ranges(spec, ActionNormalization.identity(2)) is None
    assert beyond_ranges(spec_of("elbow"), ActionNormalization(mean=(9.0,), std=(1.0,))) is None
