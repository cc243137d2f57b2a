"""Sentences become ids of a fixed length; what does not fit is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Library
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from jetvla.runtime.errors import BundleError
from jetvla.runtime.tokenizer import TokenEmbedding, Tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "pick", "up", "the", "red", "block"]
PAD, UNK, CLS, SEP, PICK, UP, THE, RED, BLOCK = range(9)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    library = Library(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    library.pre_tokenizer = Whitespace()
    library.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    # The bundle's length counts, whatever the file says.
    library.enable_truncation(3)
    library.enable_padding(length=20, pad_id=UNK)
    library.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_a_short_sentence_is_padded(file: Path) -> None:
    tokens = Tokenizer(file, max_tokens=8, pad_id=PAD).encode("pick up red unheard")
    assert tokens.input_ids.tolist() == [[CLS, PICK, UP, RED, UNK, SEP, PAD, PAD]]
    assert tokens.attention_mask.tolist() == [[1, 1, 1, 1, 1, 1, 0, 0]]
    assert (tokens.input_ids.dtype, tokens.attention_mask.dtype, tokens.cut) == (np.int64, np.int64, 0)


def test_a_long_sentence_keeps_its_special_tokens_and_counts_what_was_cut(file: Path) -> None:
    tokens = Tokenizer(file, max_tokens=5, pad_id=PAD).encode("pick up the red block")
    assert tokens.input_ids.tolist() == [[CLS, PICK, UP, THE, SEP]]
    assert tokens.cut == 2


def test_a_sentence_that_just_fits_is_not_cut(file: Path) -> None:
    assert Tokenizer(file, max_tokens=7, pad_id=PAD).encode("pick up the red block").cut == 0


def test_the_padding_is_the_bundles(file: Path) -> None:
    assert Tokenizer(file, max_tokens=4, pad_id=7).encode("red").input_ids.tolist() == [[CLS, RED, SEP, 7]]


def test_no_words_at_all(file: Path) -> None:
    assert Tokenizer(file, max_tokens=4, pad_id=PAD).encode("").input_ids.tolist() == [[CLS, SEP, PAD, PAD]]


def test_tokens_are_read_only(file: Path) -> None:
    tokens = Tokenizer(file, max_tokens=4, pad_id=PAD).encode("red")
    with pytest.raises(ValueError, match="read-only"):
        tokens.input_ids[0, 0] = 1


def test_no_room_for_words_is_refused(file: Path) -> None:
    with pytest.raises(BundleError, match="max_tokens = 2"):
        Tokenizer(file, max_tokens=2, pad_id=PAD)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"not json", b"\xff\xfe"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokenizer file"):
        Tokenizer(path, 8, PAD)


def test_embedding_gathers_rows_without_reading_the_whole_file(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    np.save(tmp_path / "embedding.npy", table)
    embedding = TokenEmbedding(tmp_path / "embedding.npy", vocabulary=len(WORDS))
    rows = embedding(np.array([[CLS, RED, PAD]]))
    assert np.array_equal(rows, table[[[CLS, RED, PAD]]])
    assert type(rows) is np.ndarray
    assert isinstance(embedding._table, np.memmap)


@pytest.mark.parametrize(
    "table",
    [np.zeros((8, 4), np.float32), np.zeros((9, 4), np.float64), np.zeros(9, np.float32)],
)
def test_an_embedding_that_does_not_fit_the_tokenizer_is_named(tmp_path: Path, table: np.ndarray) -> None:
    np.save(tmp_path / "embedding.npy", table)
    with pytest.raises(BundleError, match=r"embedding\.npy must be float32 \[9 or more, E\]"):
        TokenEmbedding(tmp_path / "embedding.npy", vocabulary=len(WORDS))


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_an_unreadable_embedding_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "embedding.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"embedding\.npy is not a word embedding"):
        TokenEmbedding(path, 1)
