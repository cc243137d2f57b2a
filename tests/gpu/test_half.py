"""FP16 and INT8 graphs for a Jetson on a real GPU, through ONNX Runtime: do they cost what the builder says of them?

The builder judges them on a CPU, with every tensor rounded to FP16. Needs onnxruntime-gpu and onnx.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

TINY = Path(__file__).parents[1] / "data" / "tiny-bundle"
SAMPLES = 64


def _session(model: Any, provider: str) -> Any:
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime-gpu is not installed")
    if provider not in ort.get_available_providers():
        pytest.skip("onnxruntime-gpu is not installed; pip install onnxruntime-gpu[cuda,cudnn]")
    ort.preload_dlls()
    options = ort.SessionOptions()
    # What the graph rounds to FP16 is rounded, and nothing is computed in more than it says.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=[provider])
    # Where a library of CUDA is missing it takes the CPU and only logs it.
    assert session.get_providers()[0] == provider
    return session


def _feeds(inputs: list[Any]) -> list[dict[str, Any]]:
    rng, feeds = np.random.default_rng(5), []
    for _ in range(SAMPLES):
        feed = {i.name: rng.normal(size=i.shape).astype(np.float32) for i in inputs if i.type == "tensor(float)"}
        feed |= {i.name: rng.integers(0, 256, i.shape, np.uint8) for i in inputs if i.type == "tensor(uint8)"}
        feeds.append(feed | {"text_mask": np.ones_like(feed["text_mask"])})
    return feeds


@pytest.mark.parametrize("precision", ["fp32", "int8-fp32"])
def test_half_precision_costs_what_the_builder_says(gpu: object, precision: str) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from jetvla.engines.half import rounded, to_half

    full = onnx.load(TINY / f"step.{precision}.onnx")
    half = to_half(full)
    reference = _session(full, "CPUExecutionProvider")
    feeds = _feeds(reference.get_inputs())
    exact, said, found = (
        np.concatenate([session.run(["actions"], feed)[0] for feed in feeds])
        for session in (
            reference,
            _session(rounded(half), "CPUExecutionProvider"),
            _session(half, "CUDAExecutionProvider"),
        )
    )
    predicted, real = (np.abs(actions - exact).reshape(-1, exact.shape[-1]).mean(axis=0) for actions in (said, found))
    print(f"{precision}: error in FP16 predicted {predicted}, on the GPU {real}")
    assert (real > 0).any()
    assert real.max() <= 2 * predicted.max()
    assert np.abs(found - said).max() <= 4 * np.abs(said - exact).max()
