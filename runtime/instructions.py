"""The instruction that holds now. Policy and guard each keep one inbox and so agree without talking."""

from __future__ import annotations

import re
import unicodedata
from enum import Enum

from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.config import InstructionConfig
from jetvla.runtime.contracts import Instruction


class Heard(Enum):
    """What became of a sentence."""

    ACCEPTED = "accepted"
    CLEARED = "cleared"
    STOP = "stop word"
    TOO_LONG = "too long"


class InstructionInbox:
    """Keeps the newest instruction until it expires.

    A sentence that holds a stop word, anywhere, in any case and however long it is, clears the instruction: a robot
    that stops once too often is safer than one that does not. In scripts with capitals, which have spaces between
    words, it must be a whole word. An empty sentence clears the instruction too.
    """

    def __init__(self, config: InstructionConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._ttl_ns = None if config.ttl_s is None else seconds_to_ns(config.ttl_s)
        self._stop = _stop_pattern(config.stop_words)
        self._current = None if config.text is None else Instruction.of(config.text, clock.now_ns())

    def follow(self, config: InstructionConfig) -> None:
        """Obey the length cap and the stop words of ``config`` from now on; the instruction that holds stays."""
        self._config, self._stop = config, _stop_pattern(config.stop_words)

    def hear(self, text: str) -> Heard:
        """Take in one sentence. One longer than ``max_chars`` is refused, and the former stays."""
        instruction = Instruction.of(text, self._clock.now_ns())
        if self._stop is not None and self._stop.search(_plain(instruction.text)):
            self._current = None
            return Heard.STOP
        if len(text) > self._config.max_chars:
            return Heard.TOO_LONG
        self._current = instruction if instruction.text else None
        return Heard.ACCEPTED if instruction.text else Heard.CLEARED

    def current(self) -> Instruction | None:
        """The instruction that holds now; None before the first, after its time to live, or once cleared."""
        if self._ttl_ns is not None and self._current is not None:
            age_ns = self._clock.now_ns() - self._current.t_ns
            if age_ns > self._ttl_ns:
                self._current = None
        return self._current


def _plain(text: str) -> str:
    """The form in which sentences and stop words are compared."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _stop_pattern(stop_words: tuple[str, ...]) -> re.Pattern[str] | None:
    words = "|".join(_pattern(_plain(word)) for word in stop_words)
    return re.compile(words) if words else None


def _pattern(word: str) -> str:
    begin = r"\b" if _has_case(word[0]) else ""
    end = r"\b" if _has_case(word[-1]) else ""
    return f"{begin}{re.escape(word)}{end}"


def _has_case(character: str) -> bool:
    return character.lower() != character.upper()
