"""From what a recording holds to the types that the guard takes, by their annotations, and the schemas of both."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
from pydantic import BaseModel

from jetvla.runtime.contracts import ActionChunk
from jetvla.runtime.manifest import Execution

Schema = dict[str, Any]
# The guard's modules import this one for type checkers alone.
_UNIMPORTED = {"Execution": Execution}
_SCALARS: dict[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number", "description": "or its name as a string: NaN, Infinity, -Infinity"},
    str: {"type": "string"},
}


def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of a function or of a class, resolved."""
    return typing.get_type_hints(target, localns=_UNIMPORTED)


def portable(value: Any) -> Any:
    """JSON that every reader takes: no NaN, no infinity, no arrays within arrays, and nothing where there is None."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: portable(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [{"values": portable(item)} if isinstance(item, list) else portable(item) for item in value]
    return value


def rebuild(hint: Any, data: Any) -> Any:
    """The value of type ``hint`` that ``data`` stands for: what :func:`portable` made, or JSON as it was packed.

    Raises:
        TypeError, ValueError, KeyError: ``data`` stands for no such value.
    """
    if data is None or hint is type(None):
        return None
    if _is_array(hint):
        return np.array([row["values"] if isinstance(row, dict) else row for row in data], _dtype(hint))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return rebuild(next(a for a in arguments if a is not type(None)), data)
    if origin is tuple:
        each = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else arguments
        return tuple(rebuild(h, item) for h, item in zip(each, data, strict=True))
    if origin is typing.Literal:
        return data
    if is_dataclass(hint) and isinstance(hint, type):
        own = hints_of(hint)
        return hint(**{f.name: rebuild(own[f.name], data.get(f.name)) for f in fields(hint)})
    if issubclass(hint, BaseModel):
        return hint.model_validate(data)
    return hint(data) if issubclass(hint, (float, Enum)) else data


def schema_of(hint: Any) -> Schema:
    """JSON schema of :func:`portable` values of ``hint``, without references and alternatives: viewers know few."""
    if hint in _SCALARS:
        return dict(_SCALARS[hint])
    if _is_array(hint):
        return {"type": "array", "items": schema_of(float)}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return schema_of(next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is typing.Literal:
        return schema_of(str)
    if hint is ActionChunk:
        return record_schema(hints_of(hint), actions=_rows_schema())
    if is_dataclass(hint) and isinstance(hint, type):
        return record_schema(hints_of(hint))
    return schema_of(int) if issubclass(hint, int) else schema_of(str)


def record_schema(hints: dict[str, Any], **extra: Schema) -> Schema:
    """Schema of an object with these fields; optional ones may be absent."""
    properties = {name: schema_of(hint) for name, hint in hints.items()} | extra
    required = [name for name, hint in hints.items() if type(None) not in typing.get_args(hint)]
    return {"type": "object", "properties": properties, "required": required}


def _rows_schema() -> Schema:
    """Schema of a two-dimensional array."""
    row = {"type": "object", "properties": {"values": {"type": "array", "items": schema_of(float)}}}
    return {"type": "array", "items": row}


def _is_array(hint: Any) -> bool:
    return typing.get_origin(hint) is np.ndarray


def _dtype(hint: Any) -> Any:
    """Of ``NDArray[scalar]``."""
    return typing.get_args(typing.get_args(hint)[1])[0]
