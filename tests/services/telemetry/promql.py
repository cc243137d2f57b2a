"""The metrics that a PromQL expression asks for."""

from __future__ import annotations

import re

_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
# Label matchers, ranges, and the labels of groupings and matchings.
_LABELS = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_WORD = re.compile(r"(?<![\w.:])[A-Za-z_:][\w:]*(?!\w|:|\s*\()")
_KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "group_left", "group_right"}


def metrics_of(expression: str) -> set[str]:
    """Names of the series in ``expression``: its words that are no function, label or keyword."""
    bare = _LABELS.sub(" ", _STRING.sub('""', expression))
    return {word for word in _WORD.findall(bare) if word.lower() not in _KEYWORDS}
