"""One call of the guard's core, and which calls make up what the guard knows now."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

PREFIX = "on_"
"""Begins the name of everything that the guard is told."""

ACTS = ("arm", "disarm", "stop", "reset")
TICK = "tick"
SETUP = "setup"
SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A method of the guard that was called.

    Attributes:
        name: of the method.
        at_ns: the guard's time, which stands still during a call.
        arguments: by the names of the parameters.
        result: what was returned.
        earlier: it was made before the recording began, and still matters.
    """

    name: str
    at_ns: int
    arguments: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    earlier: bool = False


class Held:
    """The last call of each input: told to a new guard in this order, they make it know what the old one knows."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}

    def note(self, call: Call) -> None:
        """Keep ``call`` instead of the one before of its name."""
        if not call.name.startswith(PREFIX):
            return
        key, repeated = call.name, f"{call.name}, again"
        # The guard takes the time of a health report from the first of equal ones, and that of the link from the last.
        if key == "on_health" and key in self._calls and self._calls[key].arguments == call.arguments:
            key = repeated
        else:
            self._calls.pop(repeated, None)
        self._calls.pop(key, None)
        self._calls[key] = call

    def calls(self) -> Iterable[Call]:
        """Oldest first."""
        return tuple(self._calls.values())


def pack(name: str, seq: int, at_ns: int, **body: Any) -> bytes:
    """One packet of the tap: JSON, in which arrays are base64, for they are long and the guard has no time."""
    return json.dumps({"name": name, "seq": seq, "at_ns": at_ns, **body}, default=_plain).encode()


def unpack(packet: bytes) -> dict[str, Any]:
    """What :func:`pack` packed, arrays as lists of float. ValueError if it is nothing of that kind."""
    body = json.loads(packet, object_hook=_array)
    if not isinstance(body, dict) or not {"name", "seq", "at_ns"} <= body.keys():
        raise ValueError("a packet without name, number and time")
    return body


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"base64": data, "dtype": value.dtype.str, "shape": value.shape}
    if is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} cannot be recorded")


def _array(fields: dict[str, Any]) -> Any:
    if fields.keys() != {"base64", "dtype", "shape"}:
        return fields
    array: NDArray[Any] = np.frombuffer(base64.b64decode(fields["base64"]), np.dtype(fields["dtype"]))
    return array.reshape(fields["shape"]).tolist()
