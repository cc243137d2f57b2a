"""A receipt as one HTML file: no script, nothing that is loaded, readable on a phone, by night and on paper."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jetvla.runtime.errors import ConfigError
from jetvla.services.receipt.document import Part, Receipt, Tone
from jetvla.services.receipt.wording import printable

_HERE = Path(__file__).parent
_STRIP_WIDTH = 1000.0
_MARKS: dict[Tone, str] = {"good": "✓", "warning": "!", "bad": "✗", "plain": "–"}


def page_of(receipt: Receipt) -> str:
    """HTML text of ``receipt``; the same for the same bundle. Whatever stands in the bundle is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((_HERE / "receipt.css").read_text(encoding="utf-8"))  # our own file, and no bundle's
    page = environment.get_template("receipt.html")
    return page.render(receipt=receipt, style=style, marks=_MARKS, placed=_placed).lstrip()


def write_page(receipt: Receipt, path: Path, bundle: Path) -> None:
    """Write the page of ``receipt`` to ``path``, whole or not at all; an older file there is replaced.

    Raises:
        ConfigError: ``path`` cannot be written, is no plain file, or belongs to ``bundle``, which it would spoil.
    """
    target = path.resolve()
    _require_writable(path, target, bundle.resolve())
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_text(page_of(receipt), encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise ConfigError(f"--html {path} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _require_writable(path: Path, target: Path, bundle: Path) -> None:
    if target.is_dir():
        raise ConfigError(f"--html {path} is a folder; name a file, such as {path / 'receipt.html'}")
    if target.exists() and not target.is_file():
        raise ConfigError(f"--html {path} is not a plain file; name another")
    if not target.parent.is_dir():
        raise ConfigError(f"--html {path}: there is no folder {path.parent}; make it first")
    if bundle in (target, target.parent):
        raise ConfigError(f"--html {path} would alter the bundle {bundle}; write the receipt outside it")


def _placed(parts: tuple[Part, ...]) -> Iterator[tuple[float, Part]]:
    """Each part with the place where it begins."""
    begin = 0.0
    for part in parts:
        yield begin, part
        begin += part.share * _STRIP_WIDTH


def _printable(value: object) -> object:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
