"""A receipt as one HTML file: no script, nothing that is loaded, readable on a phone, by night and on paper."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from jetvla.runtime.errors import ConfigError
from jetvla.services.receipt.document import Part, Receipt, Table, Tone
from jetvla.services.receipt.wording import printable

_HERE = Path(__file__).parent
_WORDS = re.compile(r"(?<=_)|(?<=[A-Za-z]\.)(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])")
_STRIP_WIDTH = 1000.0
_MARKS: dict[Tone, str] = {"good": "✓", "warning": "!", "bad": "✗", "plain": "–"}


def page_of(receipt: Receipt) -> str:
    """HTML text of ``receipt``; the same for the same bundle. Whatever stands in the bundle is escaped."""
    return environment().get_template("receipt.html").render(receipt=receipt, style=style()).lstrip()


def environment(*folders: Path) -> Environment:
    """Templates of ``folders`` and of this one, which has the parts that every page is made of."""
    made = Environment(
        loader=FileSystemLoader([*folders, _HERE]),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["breakable"] = _breakable
    made.globals.update(marks=_MARKS, placed=_placed, longest=_longest)
    return made


def style() -> Markup:
    """Our own style sheet, and no bundle's."""
    return Markup((_HERE / "receipt.css").read_text(encoding="utf-8"))


def write_page(receipt: Receipt, path: Path, bundle: Path) -> None:
    """Write the page of ``receipt`` to ``path``; see :func:`write_text`."""
    write_text(page_of(receipt), "--html", path, bundle)


def write_text(text: str, option: str, path: Path, bundle: Path | None) -> None:
    """Write ``text`` to ``path``, whole or not at all; an older file there is replaced.

    Args:
        option: which one named the path.

    Raises:
        ConfigError: ``path`` cannot be written, is no plain file, or belongs to ``bundle``, which it would spoil.
    """
    try:
        _replace(require_writable(option, path, bundle), text)
    except OSError as error:
        raise ConfigError(f"{option} {path} cannot be written: {error.strerror}") from error


def _replace(target: Path, text: str) -> None:
    partial = _partial(target)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _try_out(target: Path) -> None:
    """Whether a file can be made there, and a little of it written: neither on a read-only disk nor on a full one."""
    partial = _partial(target)
    try:
        partial.write_bytes(bytes(4096))
    finally:
        partial.unlink(missing_ok=True)


def _partial(target: Path) -> Path:
    return target.with_name(f".{os.getpid()}.partial")


def require_writable(option: str, path: Path, bundle: Path | None) -> Path:
    """The file that ``path`` leads to; raises what :func:`write_text` does where that can be known before."""
    try:
        target = path.resolve()
        _require_place(option, path, target, None if bundle is None else bundle.resolve())
        _try_out(target)
    except OSError as error:
        raise ConfigError(f"{option} {path} cannot be written: {error.strerror}") from error
    return target


def _require_place(option: str, path: Path, target: Path, bundle: Path | None) -> None:
    if target.is_dir():
        raise ConfigError(f"{option} {path} is a folder; name a file, such as {path / 'receipt.html'}")
    if target.exists() and not target.is_file():
        raise ConfigError(f"{option} {path} is not a plain file; name another")
    if not target.parent.is_dir():
        raise ConfigError(f"{option} {path}: there is no folder {path.parent}; make it first")
    if bundle in (target, target.parent):
        raise ConfigError(f"{option} {path} would alter the bundle {bundle}; write it outside")


def _placed(parts: tuple[Part, ...]) -> Iterator[tuple[float, Part]]:
    """Each part with the place where it begins."""
    begin = 0.0
    for part in parts:
        yield begin, part
        begin += part.share * _STRIP_WIDTH


def _longest(table: Table, column: int) -> int:
    """Characters of the longest text in a column of texts."""
    texts = [row[column] for row in table.rows]
    return max((len(printable(text)) for text in texts if isinstance(text, str)), default=0)


def _breakable(text: str) -> Markup:
    """``text`` escaped; a narrow column breaks it where people would, before the next word of a name."""
    return Markup("<wbr>").join(escape(word) for word in _WORDS.split(printable(text)))


def _printable(value: object) -> object:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
