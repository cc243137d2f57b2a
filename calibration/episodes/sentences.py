"""One sentence per step, kept as runs: a recording of an hour says the same thing ten thousand times."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import overload

from jetvla.runtime.errors import EpisodeError


class Sentences(Sequence[str]):
    """T sentences. Memory grows with the changes of sentence, not with T.

    Args:
        runs: sentence and number of steps, in order; neighbours that are equal become one.
    """

    def __init__(self, runs: Iterable[tuple[str, int]]) -> None:
        self._texts: list[str] = []
        self._ends: list[int] = []
        for text, group in groupby(runs, key=lambda run: run[0]):
            steps = sum(count for _, count in group)
            if steps:
                self._texts.append(text)
                self._ends.append(steps + len(self))

    @classmethod
    def of(cls, sentences: Iterable[str]) -> Sentences:
        """From one sentence per step."""
        return cls((text, 1) for text in sentences)

    def runs(self) -> Iterator[tuple[str, int]]:
        """Sentence and number of steps, in order."""
        starts = [0, *self._ends[:-1]]
        return ((text, end - start) for text, start, end in zip(self._texts, starts, self._ends, strict=True))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, step: int) -> str: ...
    @overload
    def __getitem__(self, step: slice) -> list[str]: ...
    def __getitem__(self, step: int | slice) -> str | list[str]:
        if isinstance(step, slice):
            return [self[i] for i in range(*step.indices(len(self)))]
        place = step + len(self) if step < 0 else step
        if not 0 <= place < len(self):
            raise IndexError(f"steps 0 to {len(self) - 1}, not {step}")
        return self._texts[bisect_right(self._ends, place)]

    def __iter__(self) -> Iterator[str]:
        return (text for text, steps in self.runs() for _ in range(steps))


def read_sentences(path: Path, steps: int) -> Sentences:
    """A text file beside frames or a video: one line for every step, or one line per step.

    Raises:
        EpisodeError: no such file, not UTF-8, an empty line, or another number of lines.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise EpisodeError(f"{path} is missing: write the instruction into it, one line, or one per frame") from None
    except (OSError, UnicodeDecodeError) as error:
        raise EpisodeError(f"{path} cannot be read as UTF-8 text: {error}") from None
    if "" in lines or not lines:
        raise EpisodeError(
            f"{path}: line {lines.index('') + 1 if lines else 1} is empty; say what the robot does there"
        )
    if len(lines) not in (1, steps):
        raise EpisodeError(f"{path} has {len(lines)} lines for {steps} frames; give one line, or {steps}")
    return Sentences([(lines[0], steps)]) if len(lines) == 1 else Sentences.of(lines)
