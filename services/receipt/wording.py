"""Numbers and names as people read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from jetvla.runtime.manifest import Precision

PRECISION_NAMES: dict[Precision, str] = {
    "fp32": "FP32",
    "fp16": "FP16",
    "int8-fp32": "INT8 (FP32 body)",
    "int8-fp16": "INT8 (FP16 body)",
}
_NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d+)(?P<after>\D*)")
_SHORTEST_RUN = 3


def printable(text: str) -> str:
    """``text`` with whatever steers a terminal or turns the reading direction spelt out, such as ``\\x1b``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def number(value: float) -> str:
    return f"{value:.3g}"


def percent(share: float) -> str:
    decimals = abs(share) >= 1e-3 or not share
    return f"{share * 100:.1f} %" if decimals else f"{share * 100:.3g} %"


def size(count: int) -> str:
    """Bytes in decimal units."""
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1e3:.1f} kB"


def plural(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def listed(names: Sequence[str]) -> str:
    """How many, and which; ``episode_3``, ``episode_4``, ``episode_5`` in a row become one stretch."""
    return f"{len(names)}: {', '.join(_stretches(names))}" if names else "none"


def _stretches(names: Sequence[str]) -> Iterable[str]:
    start = 0
    breaks = [i for i, pair in enumerate(pairwise(names), 1) if not _follows(*pair)]
    for end in [*breaks, len(names)]:
        if end - start >= _SHORTEST_RUN:
            yield f"{names[start]} to {names[end - 1]}"
        else:
            yield from names[start:end]
        start = end


def _follows(name: str, following: str) -> bool:
    one, other = _NUMBERED.fullmatch(name), _NUMBERED.fullmatch(following)
    if one is None or other is None:
        return False
    # Compared as written, so that a stretch can be spelt out again: 09 is followed by 10, and 9 by 10, not by 010.
    successor = str(int(one["number"]) + 1).zfill(len(one["number"]))
    return (one["before"], successor, one["after"]) == (other["before"], other["number"], other["after"])
