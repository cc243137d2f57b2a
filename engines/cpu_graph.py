"""The step graph rewritten for ONNX Runtime on this machine's CPU.

The portable graph is what every runtime understands; here operators and orders of operands are chosen that ONNX
Runtime's CPU kernels do best. ``compile`` times the candidates and keeps the fastest that is within tolerance.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.engines.cpu.attention import fuse_attention
from jetvla.engines.cpu.gelu import fuse_gelu
from jetvla.engines.cpu.integers import to_integers
from jetvla.engines.cpu.opset import raise_opset
from jetvla.engines.cpu.padding import drop_padding
from jetvla.engines.cpu.pairs import take_pairs
from jetvla.engines.cpu.processor import weight_levels
from jetvla.engines.cpu.products import split_products
from jetvla.engines.cpu.residuals import keep_residuals_apart
from jetvla.runtime.errors import MissingDependency

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True, eq=False)
class Candidate:
    """A graph with the inputs and outputs of the step graph; ``integers`` if products are in INT8."""

    name: str
    model: ModelProto
    integers: bool


def cpu_candidates(step: Path, keep_float: Container[str] = (), calibrated: Path | None = None) -> Iterator[Candidate]:
    """Candidates for this machine, each made when it is asked for.

    Args:
        step: the portable FP32 step graph.
        keep_float: blocks whose products must not be in INT8.
        calibrated: the portable INT8 step graph, if the bundle has one.

    Raises:
        MissingDependency: the library onnx is not installed.
    """
    levels = weight_levels()
    yield Candidate("fused, float", _fused(_load(step)), integers=False)
    model = _fused(_load(step))
    to_integers(model, levels, keep_float)
    yield Candidate("fused, dynamic INT8", model, integers=True)
    if calibrated is not None:
        model = _load(calibrated)
        scales = take_pairs(model)
        to_integers(_fused(model), levels, scales=scales)
        yield Candidate("fused, calibrated INT8", model, integers=True)


def _load(path: Path) -> ModelProto:
    try:
        import onnx
    except ImportError as error:
        raise MissingDependency("onnx", "rewriting a graph for the CPU", "pip install onnx") from error
    return onnx.load(path)


def _fused(model: ModelProto) -> ModelProto:
    """``model``, changed in place: the same function of its inputs, up to rounding."""
    raise_opset(model)
    split_products(model)
    fuse_attention(model)
    drop_padding(model)
    fuse_gelu(model)
    keep_residuals_apart(model)
    return model
