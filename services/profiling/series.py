"""Many numbers in one line of a JSON file."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_UNKNOWN = "-"


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(math.nan if word == _UNKNOWN else float(word) for word in value.split())


def _written(values: tuple[float, ...]) -> str:
    return " ".join(_UNKNOWN if math.isnan(value) else f"{value:.1f}".removesuffix(".0") for value in values)


# To a tenth of the unit; NaN, for what did not happen, is written as a dash.
Series = Annotated[tuple[float, ...], BeforeValidator(_read), PlainSerializer(_written, return_type=str)]
