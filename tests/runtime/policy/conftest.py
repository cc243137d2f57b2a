"""A bundle whose answers can be computed by hand; its graphs are made by tests/data/make_graphs.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.bundle import Bundle, digest_files
from jetvla.runtime.manifest import (
    CameraSpec,
    ErrorReport,
    GoldenSpec,
    GraphSpec,
    Manifest,
    Normalization,
    ResizeSpec,
    TensorSpec,
    TextSpec,
)

DATA = Path(__file__).parents[2] / "data"
WORDS = ["[PAD]", "[UNK]", "go", "left", "right"]
GOLDEN = [("go left", 0), ("go right", 128), ("left", 255)]
MakeBundle = Callable[..., Bundle]
Answer = Callable[[str, float], np.ndarray]


def _answer(sentence: str, level: float) -> np.ndarray:
    """What the graphs compute, float64 [2, 3], for a sentence of known words and an image of one level."""
    said = sum(WORDS.index(word) for word in sentence.split())
    both = level / 255 + said / 100
    return both * (np.arange(2) + 1.0)[:, None] * (np.arange(3) + 1.0)[None, :]


def _graphs() -> dict[str, GraphSpec]:
    text = {
        "text_features": TensorSpec(dtype="float32", shape=(1, 6, 1)),
        "text_mask": TensorSpec(dtype="float32", shape=(1, 6)),
    }
    ids = {name: TensorSpec(dtype="int64", shape=(1, 6)) for name in ("input_ids", "attention_mask")}
    step_inputs = {"image_front": TensorSpec(dtype="uint8", shape=(1, 8, 8, 3)), **text}
    actions = {"actions": TensorSpec(dtype="float32", shape=(1, 2, 3))}
    return {
        "language.fp32": GraphSpec(file="language.onnx", inputs=ids, outputs=text),
        "step.fp32": GraphSpec(file="step.onnx", inputs=step_inputs, outputs=actions),
        "step.int8-fp32": GraphSpec(file="step.onnx", inputs=step_inputs, outputs=actions),
    }


def _write_golden(folder: Path) -> None:
    np.savez(
        folder / "golden.npz",
        image_front=np.stack([np.full((8, 8, 3), level, np.uint8) for _, level in GOLDEN]),
        instructions=np.array([sentence for sentence, _ in GOLDEN]),
        actions=np.stack([_answer(*sample) for sample in GOLDEN]).astype(np.float32),
    )


@pytest.fixture
def answer() -> Answer:
    return _answer


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    def make(change: Callable[[Path], None] = lambda _: None, **fields: Any) -> Bundle:
        folder = tmp_path / "bundle"
        folder.mkdir()
        for name in ("language.onnx", "step.onnx"):
            shutil.copy(DATA / name, folder)
        tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = Whitespace()
        tokenizer.save(str(folder / "tokenizer.json"))
        _write_golden(folder)
        change(folder)
        zeros, ones = (0.0,) * 3, (1.0,) * 3
        manifest: dict[str, Any] = {
            "version": 1,
            "name": "by-hand",
            "family": "end_to_end",
            "action": ActionSpec(
                dimensions=tuple(
                    ActionDimension(name=n, quantity="linear", unit="m/s", semantics="velocity") for n in "xyz"
                )
            ),
            "cameras": (CameraSpec(name="front", height=8, width=8),),
            "horizon": 2,
            "dt_s": 0.1,
            "replan_s": 0.1,
            "resize": ResizeSpec(method="opencv_area", fit="stretch"),
            "text": TextSpec(max_tokens=6, pad_id=0),
            "graphs": _graphs(),
            "normalization": Normalization(mean=zeros, std=ones),
            "golden": GoldenSpec(count=3, scale=ones, moving=(True,) * 3, tolerance={"fp32": 1e-5, "int8-fp32": 1e-5}),
            "parity": ErrorReport(samples=1, max=zeros, mean=zeros),
            "builder": {},
            "files": digest_files(folder),
        }
        (folder / "manifest.json").write_text(Manifest(**(manifest | fields)).model_dump_json())
        return Bundle.open(folder, None)

    return make
