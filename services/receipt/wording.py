"""Numbers and names as people read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from jetvla.runtime.manifest import Precision

PRECISION_NAMES: dict[Precision, str] = {
    "fp32": "FP32",
    "fp16": "FP16",
    "int8-fp32": "INT8 (FP32 body)",
    "int8-fp16": "INT8 (FP16 body)",
}
_NUMBERS = re.compile(r"([0-9]+)")
_SHORTEST_STRETCH = 3


def printable(text: str) -> str:
    """``text`` with whatever steers a terminal or turns the reading direction spelt out, such as ``\\x1b``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:#.3g}".removesuffix(".") if value else "0"


def percent(share: float) -> str:
    """To a tenth of a per cent."""
    return "<0.1 %" if 0 < share < 5e-4 else f"{share * 100:.1f} %"


def size(count: int) -> str:
    """Bytes in decimal units."""
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1e3:.1f} kB"


def plural(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def listed(names: Sequence[str]) -> str:
    """How many, and which; ``episode_3``, ``episode_4``, ``episode_5`` in a row become one stretch."""
    return f"{len(names)}: {', '.join(_stretches(names))}" if names else "none"


def _stretches(names: Sequence[str]) -> Iterator[str]:
    steps = [_rising(*pair) for pair in pairwise(names)]
    start = 0
    while start < len(names):
        end = start + 1
        while end < len(names) and steps[end - 1] is not None and steps[end - 1] == steps[start]:
            end += 1
        long = end - start >= _SHORTEST_STRETCH
        yield from (f"{names[start]} to {names[end - 1]}",) if long else names[start:end]
        start = end


def _rising(name: str, following: str) -> int | None:
    """Which number of ``name`` is one larger in ``following``, all else being the same; None if none is."""
    one, other = _NUMBERS.split(name), _NUMBERS.split(following)
    differing = [i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]]
    if len(one) != len(other) or len(differing) != 1 or differing[0] % 2 == 0:
        return None
    # Compared as written, so that a stretch can be spelt out again: 09 is followed by 10, and 9 by 10, not by 010.
    number = one[differing[0]]
    return differing[0] if str(int(number) + 1).zfill(len(number)) == other[differing[0]] else None
