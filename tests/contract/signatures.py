"""pybind11 docstrings, read as signatures."""

from __future__ import annotations

import re
from dataclasses import dataclass

# "name(self: X, a: int = 0) -> Y", also numbered, and for properties without a name.
_LINE = re.compile(r"^(?:\d+\. )?\w*\((?P<parameters>.*)\) -> (?P<returns>.+)$", re.MULTILINE)
_PREFIX = "tensorrt_bindings.tensorrt."


@dataclass(frozen=True)
class Signature:
    """Parameters without self; ``returns`` is a class of TensorRT's or a Python type, as text."""

    names: tuple[str, ...]
    required: int
    returns: str

    def takes(self, positional: int, keywords: list[str]) -> bool:
        """Whether a call with so many positional arguments and these keywords fits."""
        if positional > len(self.names) or set(keywords) - set(self.names[positional:]):
            return False
        given = set(self.names[:positional]) | set(keywords)
        # pybind11 calls a parameter without a name arg0, which is no keyword.
        nameless = [k for k in keywords if re.fullmatch(r"arg\d+", k)]
        return not nameless and set(self.names[: self.required]) <= given


def signatures(doc: str, bound: bool) -> list[Signature]:
    """Every overload in a docstring; ``bound`` leaves out the first parameter."""
    found = []
    for match in _LINE.finditer(doc):
        if match["parameters"] == "*args, **kwargs":
            continue
        parameters = _split(match["parameters"])[1 if bound else 0 :]
        names = tuple(p.partition(":")[0].strip() for p in parameters)
        required = sum("=" not in p for p in parameters)
        found.append(Signature(names, required, match["returns"].replace(_PREFIX, "").strip()))
    return found


def _split(text: str) -> list[str]:
    """Split at the commas that are in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{<") - (character in ")]}>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
