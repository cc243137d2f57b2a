"""A first action spec from recorded actions: names and ranges are measured, the meaning is stated by a person."""

from __future__ import annotations

from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from jetvla.calibration.coverage import Spread
from jetvla.runtime.action_spec import ActionSpec, Quantity, RotationForm, Semantics, Unit
from jetvla.runtime.errors import ConfigError

_HEAD = """\
# A DRAFT, to be checked by a person before a robot moves by it.
# Measured in {source}: names and ranges of {steps} steps.
# Said on the command line, the same for every dimension: quantity, unit, semantics. A gripper among joints, or a
# translation among rotations, has to be corrected here. Linear and angular dimensions also need a 'frame'.
# A range is what was recorded, not what is safe.
"""


def draft(
    actions: Spread, quantity: Quantity, unit: Unit, semantics: Semantics, rotation: RotationForm | None, source: str
) -> str:
    """YAML that ``--action-spec`` takes.

    Raises:
        ConfigError: quantity, unit, semantics and rotation do not go together.
    """
    dimensions = [
        _dimension(name, (low, high), quantity, unit, semantics)
        for name, low, high in zip(_names(actions), actions.min, actions.max, strict=True)
    ]
    spec: dict[str, Any] = {} if rotation is None else {"rotation": rotation}
    spec["dimensions"] = dimensions
    try:
        ActionSpec.model_validate(spec)
    except ValidationError as error:
        raise ConfigError(f"these do not make an action spec: {error.errors()[0]['msg']}") from None
    lines = [yaml.safe_dump(d, default_flow_style=True, sort_keys=False, width=1000).strip() for d in dimensions]
    head = _HEAD.format(source=source, steps=int(actions.histogram[0].sum()))
    rows = "".join(f"  - {line}{_note(d)}\n" for line, d in zip(lines, dimensions, strict=True))
    return head + (f"rotation: {rotation}\n" if rotation else "") + f"dimensions:\n{rows}"


def _dimension(
    name: str, span: tuple[float, float], quantity: Quantity, unit: Unit, semantics: Semantics
) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "quantity": quantity, "unit": unit, "semantics": semantics}
    # Rounded outwards, so that what was recorded is inside.
    low, high = float(np.floor(span[0] * 1e4) / 1e4), float(np.ceil(span[1] * 1e4) / 1e4)
    return {**made, "range": [low, high]} if span[0] < span[1] else made


def _note(dimension: dict[str, Any]) -> str:
    return "" if "range" in dimension else "  # never moved: give it a range"


def _names(actions: Spread) -> tuple[str, ...]:
    return actions.names if actions.named else tuple(f"action_{i}" for i in range(len(actions.names)))
