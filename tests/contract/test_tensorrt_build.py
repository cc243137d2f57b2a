"""NVIDIA's own parser and optimizer take our graphs, and refuse what TensorRT cannot run.

The library is TensorRT for RTX, which builds without a GPU; nothing runs here. Graphs of the policies' families are
built where their tests are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import TensorProto, helper

Build = Callable[..., dict[str, int | str]]


def test_the_graphs_of_a_bundle_are_built(tiny_bundle: Path, build_plans: Build) -> None:
    made = build_plans(tiny_bundle / "language.fp32.onnx", tiny_bundle / "step.fp32.onnx")
    assert set(made) == {"language.fp32", "step.fp32"}
    assert all(isinstance(size, int) and size > 100_000 for size in made.values()), made


def test_what_tensorrt_cannot_compute_is_refused_by_name(tmp_path: Path, build_plans: Build) -> None:
    """Or the tests beside this one would show nothing."""
    nodes = {
        "uint8": [
            helper.make_node("Transpose", ["image"], ["turned"], name="turning", perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["turned"], ["out"], to=TensorProto.FLOAT),
        ],
        "mixed": [
            helper.make_node("Cast", ["image"], ["half"], to=TensorProto.FLOAT16),
            helper.make_node("Cast", ["image"], ["single"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["half", "single"], ["out"], name="adding"),
        ],
    }
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 4, 4, 3])
    for name, made in nodes.items():
        out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3, 4, 4] if name == "uint8" else [1, 4, 4, 3])
        model = helper.make_model(
            helper.make_graph(made, name, [image], [out]), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
        )
        onnx.save(model, tmp_path / f"{name}.onnx")
    (tmp_path / "torn.onnx").write_bytes((tmp_path / "uint8.onnx").read_bytes()[:60])
    said = build_plans(*(tmp_path / f"{name}.onnx" for name in ("uint8", "mixed", "torn")))
    assert "cannot read" in str(said["uint8"])
    assert "type UInt8" in str(said["uint8"])
    assert "adding" in str(said["mixed"])
    assert "cannot read" in str(said["torn"])
