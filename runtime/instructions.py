"""The instruction that holds now. Policy and guard each keep one inbox and so agree without talking."""

from __future__ import annotations

import re
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

    A sentence that holds a stop word as a whole word, anywhere and in any case, clears the instruction: a robot
    that stops once too often is safer than one that does not. An empty sentence clears it too.
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
        if len(text) > self._config.max_chars:
            return Heard.TOO_LONG
        instruction = Instruction.of(text, self._clock.now_ns())
        if self._stop is not None and self._stop.search(instruction.text.lower()):
            self._current = None
            return Heard.STOP
        self._current = instruction if instruction.text else None
        return Heard.ACCEPTED if instruction.text else Heard.CLEARED

    def current(self) -> Instruction | None:
        """The instruction that holds now; None before the first, after its time to live, or once cleared."""
        if self._ttl_ns is not None and self._current is not None:
            age_ns = self._clock.now_ns() - self._current.t_ns
            if age_ns > self._ttl_ns:
                self._current = None
        return self._current


def _stop_pattern(stop_words: tuple[str, ...]) -> re.Pattern[str] | None:
    words = "|".join(re.escape(word.lower()) for word in stop_words)
    return re.compile(rf"\b(?:{words})\b") if words else None
