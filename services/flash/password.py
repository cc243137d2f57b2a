"""The password of the robot's user: asked for or read from a file, never an argument and never in the environment."""

from __future__ import annotations

import getpass
import stat
import sys
from pathlib import Path

from jetvla.services.flash.errors import FlashError


class Password:
    """A password that shows itself to nobody by accident."""

    def __init__(self, text: str) -> None:
        if not text or any(ord(character) < 32 for character in text):
            raise FlashError("the password is empty, or holds a control character; choose another")
        self._text = text

    def __repr__(self) -> str:
        return "Password(hidden)"

    def line_for(self, user: str) -> str:
        """What ``chpasswd`` reads from its standard input."""
        return f"{user}:{self._text}\n"


def read_password(user: str, file: Path | None) -> Password:
    """The first line of ``file``, or what is typed twice.

    Raises:
        FlashError: if the file cannot be read or others may read it, or there is no terminal to ask at.
    """
    return _asked(user) if file is None else _filed(file)


def _filed(file: Path) -> Password:
    try:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise FlashError(f"others may read {file}; chmod 600 {file}")
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FlashError(f"the password file {file} cannot be read: {error.strerror}") from error
    return Password(lines[0] if lines else "")


def _asked(user: str) -> Password:
    if not sys.stdin.isatty():
        raise FlashError(f"there is no terminal to ask for the password of {user}; name a file with PASSWORD_FILE=")
    first = getpass.getpass(f"password of {user} on the robot: ")
    if getpass.getpass("once more: ") != first:
        raise FlashError("the two passwords differ; run it again")
    return Password(first)
