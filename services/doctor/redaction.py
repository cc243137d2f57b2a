"""What never leaves the machine: keys, and what people said to the robot.

Where a sentence has a field of its own, the field is dropped and its sentence remembered. Free text goes through
:meth:`Redaction.line`: what stands after the word "instruction", anything quoted that has a space, PEM blocks and long
base64, and every sentence and key that is remembered, wherever it stands. Keys, and the sentences of a field of their
own, are looked for in the whole archive again before it is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

LEFT_OUT = "(left out)"
# A single common word would blacken unrelated lines.
_LONG_WORD = 12
_PEM = re.compile(r"-----BEGIN [^-]*-----.*?(-----END [^-]*-----|\Z)", re.DOTALL)
# Digests in hexadecimal, and paths, are none.
_BASE64 = re.compile(r"(?<![\w+/.-])(?!/|[0-9a-fA-F]+(?![\w+/]))[A-Za-z0-9+/]{40,}={0,2}")
_INSTRUCTION = re.compile(r"(instructions?\b)(.*)", re.IGNORECASE)
# What Python quotes may hold the quotation mark too, after a backslash.
_QUOTED = re.compile(r"(?<!\w)([\"'])((?:\\.|(?!\1)[^\\])*\s(?:\\.|(?!\1)[^\\])*)\1")
_ESCAPED = re.compile(r"\\([\"'\\])")


class Redaction:
    """Remembers what must not be found, and takes it out of text."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._guessed: set[str] = set()

    def remember(self, text: object) -> None:
        """A sentence, or a word long enough to be none by chance, that must not be found anywhere."""
        self._add(self._secrets, text if isinstance(text, str) else "")

    def remember_key(self, pem: str) -> None:
        """The lines between the armour of a private key."""
        for line in pem.splitlines():
            if not line.startswith("-----"):
                self.remember(line)

    def line(self, text: str) -> str:
        """``text``, one line of it, without what must not be found."""
        text = _BASE64.sub(LEFT_OUT, _PEM.sub(LEFT_OUT, text))
        text = _INSTRUCTION.sub(self._after, text)
        return self.known(_QUOTED.sub(self._within, text))

    def lines(self, text: str) -> str:
        """As :meth:`line`, for each line; a PEM block may span several."""
        return "\n".join(map(self.line, _PEM.sub(LEFT_OUT, text).split("\n")))

    def values(self, data: Any) -> Any:
        """``data`` of JSON with every text in it treated as a line."""
        if isinstance(data, str):
            return self.lines(data)
        if isinstance(data, dict):
            return {self.line(str(key)): self.values(value) for key, value in data.items()}
        return [self.values(item) for item in data] if isinstance(data, list) else data

    def found_in(self, contents: Iterable[bytes]) -> bool:
        """Whether anything remembered is in there after all."""
        known = {form.lower().encode() for secret in self._secrets for form in _forms(secret)}
        clean = [content.replace(LEFT_OUT.encode(), b"").lower() for content in contents]
        return any(secret in content for content in clean for secret in known)

    def known(self, text: str) -> str:
        """``text`` without what is remembered."""
        forms = {form for secret in self._secrets | self._guessed for form in _forms(secret)}
        for secret in sorted(forms, key=len, reverse=True):
            text = re.sub(re.escape(secret), LEFT_OUT, text, flags=re.IGNORECASE)
        return text

    def _add(self, to: set[str], text: str) -> None:
        stripped = text.strip(" :=,\"'")
        if len(stripped) >= _LONG_WORD or " " in stripped:
            to.add(stripped)

    def _after(self, match: re.Match[str]) -> str:
        self._add(self._guessed, match[2])
        return f"{match[1]} {LEFT_OUT}" if match[2] else match[1]

    def _within(self, match: re.Match[str]) -> str:
        self._add(self._guessed, _ESCAPED.sub(r"\1", match[2]))
        return LEFT_OUT


def _forms(secret: str) -> set[str]:
    """As it is, and as programs quote it."""
    quoted = {secret, repr(secret)[1:-1], secret.replace("'", "\\'")}
    return quoted | {json.dumps(text)[1:-1] for text in quoted}
