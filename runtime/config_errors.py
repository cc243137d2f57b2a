"""What pydantic finds wrong in a file, in a user's words."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from jetvla.runtime.yaml_source import Location, YamlSource

_NO_KEYS = ("model_type", "dict_type", "model_attributes_type")


def problems(error: ValidationError, source: YamlSource, model: type[BaseModel]) -> list[str]:
    """One line for every mistake in ``source``, as ``file:line: key: what is wrong``."""
    return [
        f"{source.path}:{source.line(found['loc'])}: {_key(found['loc'], source)}: {_message(found, model)}"
        for found in error.errors()
    ]


def _key(location: Location, source: YamlSource) -> str:
    """Dotted key, without the union tags that pydantic adds."""
    parts: Location = ()
    for index, part in enumerate(location):
        if (*parts, part) in source.lines or index == len(location) - 1:
            parts = (*parts, part)
    return ".".join(map(str, parts)) or "(root)"


def _message(problem: Any, model: type[BaseModel]) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        *inside, key = problem["loc"]
        return f"unknown key; {_nearest(str(key), _keys(model, inside)) or 'remove it or correct its spelling'}"
    if kind == "missing":
        return "is required; add it"
    if kind == "union_tag_invalid":
        tags = context["expected_tags"].replace("'", "").split(", ")
        hint = _nearest(context["tag"], tags)
        return f"{_discriminator(context)} {context['tag']!r} is none of {', '.join(tags)}{hint and '; ' + hint}"
    if kind == "union_tag_not_found":
        return f"has no {_discriminator(context)}; add it"
    shown = problem.get("input")
    value = f" (it is {shown!r})" if isinstance(shown, (str, int, float, bool)) else ""
    if kind in _NO_KEYS:
        known = ", ".join(_keys(model, problem["loc"]))
        return f"must have keys with values of their own{known and f', of {known}'}{value}"
    return f"{problem['msg'].removeprefix('Value error, ')}{value}"


def _discriminator(context: Any) -> str:
    return str(context["discriminator"]).strip("'")


def _nearest(word: str, known: list[str]) -> str:
    found = get_close_matches(word, known, 1)
    return f"is {found[0]} meant?" if found else ""


def _keys(model: type[BaseModel], location: Any) -> list[str]:
    """Names of what may stand at ``location``."""
    kinds: list[Any] = [model]
    for part in location:
        kinds = [inner for kind in kinds for inner in _inside(kind, part)]
    models = [member for kind in kinds for member in _members(kind)]
    return list(dict.fromkeys(name for m in models if _is_model(m) for name in m.model_fields))


def _inside(kind: Any, part: str | int) -> Iterator[Any]:
    """The types at ``part``, a key, an index or a union's tag, of ``kind``."""
    for member in _members(kind):
        if not _is_model(member):
            if get_origin(member) in (dict, tuple):
                yield get_args(member)[-1 if get_origin(member) is dict else 0]
        elif part in member.model_fields:
            yield member.model_fields[part].annotation
        elif "kind" in member.model_fields and part in get_args(member.model_fields["kind"].annotation):
            yield member


def _members(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Annotated:
        yield from _members(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for member in get_args(kind):
            yield from _members(member)
    else:
        yield kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
