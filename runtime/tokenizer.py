"""From a sentence to the language graph's input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.contracts import freeze
from jetvla.runtime.errors import BundleError, MissingDependency


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """A tokenized sentence, padded to the policy's length L.

    Attributes:
        input_ids: int64 [1, L].
        attention_mask: int64 [1, L]; 1 = token, 0 = padding.
        cut: how many of the sentence's tokens did not fit.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    cut: int

    def __post_init__(self) -> None:
        freeze(self.input_ids)
        freeze(self.attention_mask)


class Tokenizer:
    """A Hugging Face ``tokenizers`` file, padding and cutting by the bundle's length, not by the file's own.

    Raises:
        BundleError: if the file cannot be read, or leaves no room for words in ``max_tokens``.
    """

    def __init__(self, path: Path, max_tokens: int, pad_id: int) -> None:
        try:
            import tokenizers
        except ImportError as error:
            raise MissingDependency("tokenizers", "tokenization", "pip install tokenizers") from error
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises no narrower class
            raise BundleError(f"{path} is not a tokenizer file ({error}); build the bundle again") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._room = max_tokens - self._tokenizer.num_special_tokens_to_add(is_pair=False)
        if self._room < 1:
            raise BundleError(
                f"{path}: its special tokens alone fill max_tokens = {max_tokens}; raise it and build again"
            )
        self._max_tokens, self._pad_id = max_tokens, pad_id

    @property
    def vocabulary(self) -> int:
        """Number of ids; every id that :meth:`encode` gives is below it, or is the padding."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> Tokens:
        """Tokenize ``text``; what does not fit is cut at its end, and the special tokens stay."""
        words = self._tokenizer.encode(text, add_special_tokens=False)
        cut = max(0, len(words) - self._room)
        words.truncate(self._room)
        ids = self._tokenizer.post_process(words, add_special_tokens=True).ids
        input_ids = np.full((1, self._max_tokens), self._pad_id, np.int64)
        attention_mask = np.zeros((1, self._max_tokens), np.int64)
        input_ids[0, : len(ids)] = ids
        attention_mask[0, : len(ids)] = 1
        return Tokens(input_ids, attention_mask, cut)


class TokenEmbedding:
    """The word embedding when the bundle keeps it out of the language graph: float32 [V, E], memory-mapped.

    Raises:
        BundleError: if the file cannot be read, is of another type, or has fewer rows than ``vocabulary``.
    """

    def __init__(self, path: Path, vocabulary: int) -> None:
        try:
            table = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BundleError(f"{path} is not a word embedding ({error}); build the bundle again") from error
        if table.dtype != np.float32 or table.ndim != 2 or len(table) < vocabulary:
            raise BundleError(
                f"{path} must be float32 [{vocabulary} or more, E], not {table.dtype} {list(table.shape)}; "
                "build the bundle again"
            )
        self._table: NDArray[np.float32] = table

    def __call__(self, input_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows of ``input_ids`` int64 [1, L], as float32 [1, L, E] in memory."""
        return np.asarray(self._table[input_ids], np.float32)
