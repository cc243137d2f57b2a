"""``jetvla profile --layers`` as a user sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetvla.engines.layers import profile as profiling
from jetvla.services.cli import main

from .bundles import Maker

Run = Callable[..., int]


@pytest.fixture
def layers(signed_bundle: Path, tmp_path: Path) -> Run:
    words = ["profile", str(signed_bundle), "--layers", "--trusted", str(tmp_path / "keys")]
    return lambda *more: main([*words, "--engines", str(tmp_path / "engines"), *more])


def cells(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"│ {name} "))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_blocks_towers_and_totals_are_printed_and_written(
    layers: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    path = tmp_path / "layers.json"
    assert layers("--precision", "int8-fp32", "--threads", "1", "--json", str(path)) == 0
    shown, figures = capsys.readouterr().out, json.loads(path.read_text())
    assert "the bundle's graph, int8-fp32, threads: 1" in shown
    assert re.search(r"roof: \d+ GFLOP/s in FP32, \d+ GOP/s in INT8", shown)
    block = next(row for row in figures["step"]["blocks"] if row["name"] == "ViT block 1 MLP")
    printed = cells(shown, "ViT block 1 MLP")
    assert printed[1] == f"{block['ms']:.3f}"
    assert printed[5] == "100%"
    assert printed[6] == f"{block['of_roof']:.1%}"
    names = [row["name"] for row in figures["step"]["blocks"]]
    printed_names = [line.split("│")[1].strip() for line in shown.splitlines() if line.startswith("│")]
    assert [name for name in printed_names if name in names] == names
    for name in ("vision", "fusion", "head", "other", "between layers", "total", "MatMulIntegerToFloat"):
        assert cells(shown, name)
    check_sums(figures["step"])
    check_sums(figures["language"])


def check_sums(table: dict[str, Any]) -> None:
    parts = sum(row["ms"] for row in table["blocks"]) + table["other_ms"] + table["between_layers_ms"]
    assert parts == pytest.approx(table["total_ms"])
    assert sum(table["kernels_ms"].values()) == pytest.approx(table["total_ms"] - table["between_layers_ms"])
    assert sum(row["ms"] for row in table["towers"]) <= table["total_ms"]


def test_a_graph_without_names_of_blocks_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As bundles are whose language graph an older jetvla exported; none of its time is lost."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    maker = Maker(tmp_path)
    bundle = maker(2)
    graph = onnx.load(bundle / "language.fp32.onnx")
    for number, node in enumerate(graph.graph.node):
        node.name = f"node_{number}"
    onnx.save(graph, bundle / "language.fp32.onnx")
    maker.seal(bundle)
    words = ["profile", str(bundle), "--layers", "--trusted", str(maker.keys), "--engines", str(tmp_path / "engines")]
    assert main([*words, "--precision", "fp32", "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    language = shown[shown.index("language, when the instruction changes") :]
    assert cells(language, "blocks")[1] == "0.000"
    assert float(cells(language, "other")[1]) > 0
    assert "bear no names of blocks" in language


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--camera", "video:clip.mp4"), "--camera has no meaning with --layers; leave it out"),
        (("--precision", "int4"), "--precision 'int4'"),
        (("--precision", "fp16"), "no step graph in fp16, only in fp32, int8-fp32"),
        (("--threads", "0"), "--threads 0"),
        (("--threads", "-2"), "--threads -2"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    layers: Run, words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert layers(*words) == 1
    said = capsys.readouterr().err
    assert said.startswith("jetvla profile: ")
    assert said.count("\n") == 1
    assert says in said


def test_without_onnx_the_extra_is_named(
    layers: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profiling, "find_spec", lambda name: None)
    assert layers() == 1
    assert "pip install 'jetvla[build]'" in capsys.readouterr().err
