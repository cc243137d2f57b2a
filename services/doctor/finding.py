"""One line of the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and how it is.

    Attributes:
        remedy: what to do where it is not ready.
        needed: whether it decides the exit status.
    """

    what: str
    ready: bool
    detail: str
    remedy: str = ""
    needed: bool = True
