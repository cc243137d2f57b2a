"""A receipt as plain data. The facts fill it once; terminal and page each draw all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "warning", "bad", "plain"]


@dataclass(frozen=True)
class Badge:
    """A word whose colour repeats what it says."""

    text: str
    tone: Tone


@dataclass(frozen=True)
class Bar:
    """A number with its picture.

    Attributes:
        text: the number, for people.
        fill: how much of the track is filled, 0 to 1.
        tone: colour of the filled part.
        mark: where on the track the limit stands, 0 to 1; None where there is none.
    """

    text: str
    fill: float
    tone: Tone = "plain"
    mark: float | None = None


Cell = str | Badge | Bar


@dataclass(frozen=True)
class Column:
    """Only ``text`` may be broken over lines; a ``number`` stands at the right."""

    name: str
    kind: Literal["text", "word", "number"] = "text"


@dataclass(frozen=True)
class Part:
    """A piece of a :class:`Strip`; ``share`` of the whole, 0 to 1."""

    name: str
    share: float
    tone: Tone


@dataclass(frozen=True)
class Strip:
    """One line that shows what a whole consists of; ``text`` says it in words."""

    text: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Table:
    """``note`` says how to read it; each row has one cell a column; ``strip`` sums the rows up."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    strip: Strip | None = None


@dataclass(frozen=True)
class Section:
    """Facts are (name, text) pairs."""

    name: str
    facts: tuple[tuple[str, Cell], ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """An answer to a question that everybody asks first."""

    question: str
    answer: str
    detail: str
    tone: Tone


@dataclass(frozen=True)
class Receipt:
    """A whole receipt, most wanted first."""

    name: str
    facts: tuple[tuple[str, Cell], ...]
    verdicts: tuple[Verdict, ...]
    sections: tuple[Section, ...]
