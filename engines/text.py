"""Tokenizers: reading ``tokenizer.json``, and making a small one from instructions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from jetvla.runtime.errors import CheckpointError

# In DeBERTa-v3's order.
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
_PAD_NAMES = ("[PAD]", "<pad>", "<|endoftext|>")


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer and the id that it pads with; ``json`` is the file's text."""

    json: str
    pad_id: int

    @classmethod
    def read(cls, path: Path) -> TextEncoder:
        """Read a Hugging Face ``tokenizer.json``; CheckpointError if it is none or has no padding token."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise CheckpointError(
                f"{path} is missing; save it with tokenizer.backend_tokenizer.save('tokenizer.json')"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}; copy it again") from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, where: str) -> TextEncoder:
        """As :meth:`read`, from the file's text."""
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # the library raises no narrower class
            raise CheckpointError(f"{where} is not a tokenizers file ({error})") from error
        known = [tokenizer.token_to_id(name) for name in _PAD_NAMES]
        pad = next((i for i in known if i is not None), None)
        if pad is None:
            raise CheckpointError(f"{where} has no padding token (one of {', '.join(_PAD_NAMES)}); add one and save it")
        return cls(text, int(pad))

    @property
    def size(self) -> int:
        """Number of different ids."""
        return int(Tokenizer.from_str(self.json).get_vocab_size())

    def cut(self, text: str, length: int) -> int:
        """How many tokens of ``text`` do not fit into ``length``."""
        return max(0, len(Tokenizer.from_str(self.json).encode(text).ids) - length)

    def encode(self, texts: Sequence[str], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and attention mask, each [N, length]; padded or cut, special tokens kept."""
        tokenizer = Tokenizer.from_str(self.json)
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(length=length, pad_id=self.pad_id)
        encoded = tokenizer.encode_batch(list(texts))
        ids = np.array([e.ids for e in encoded], np.int64)
        return ids, np.array([e.attention_mask for e in encoded], np.int64)


def word_tokenizer(texts: Iterable[str]) -> TextEncoder:
    """One token per word seen in ``texts``, lower-cased; every other word is ``[UNK]``. Deterministic."""
    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]+", normalizer.normalize_str(text))})
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return TextEncoder(str(tokenizer.to_str()), 0)
