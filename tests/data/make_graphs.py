"""Writes the three graphs beside this file, small enough to compute by hand: python tests/data/make_graphs.py

``language.onnx``: text_features = input_ids * attention_mask, text_mask = attention_mask, as float32.
``step.onnx``: actions[0, h, d] = (mean(image_front) / 255 + sum(text_features) / 100) * (h + 1) * (d + 1).
``act.onnx``: actions[0, h, d] = state[0, d] + 0.02 * (h + 1) * (d + 1) * mean(image_front) / 255; no language.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LENGTH, SIDE, HORIZON, DIMENSIONS = 6, 8, 2, 3


def save(name: str, nodes: list, inputs: list, outputs: list, constants: dict[str, np.ndarray]) -> None:
    graph = helper.make_graph(
        nodes, name, inputs, outputs, [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, Path(__file__).with_name(f"{name}.onnx"))


def tensor(name: str, kind: int, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


FEATURES = tensor("text_features", TensorProto.FLOAT, 1, LENGTH, 1)
MASK = tensor("text_mask", TensorProto.FLOAT, 1, LENGTH)
save(
    "language",
    [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
        helper.make_node("Cast", ["kept"], ["kept_float"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["kept_float", "last"], ["text_features"]),
        helper.make_node("Cast", ["attention_mask"], ["text_mask"], to=TensorProto.FLOAT),
    ],
    [tensor(n, TensorProto.INT64, 1, LENGTH) for n in ("input_ids", "attention_mask")],
    [FEATURES, MASK],
    {"last": np.array([-1])},
)
STEPS = (np.arange(HORIZON) + 1)[None, :, None] * (np.arange(DIMENSIONS) + 1)[None, None, :]
save(
    "step",
    [
        helper.make_node("Cast", ["image_front"], ["image"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["light"]),
        helper.make_node("Squeeze", ["text_features", "last"], ["words"]),
        helper.make_node("Mul", ["words", "text_mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept"], ["sum"], keepdims=0),
        helper.make_node("Div", ["sum", "hundred"], ["said"]),
        helper.make_node("Add", ["light", "said"], ["both"]),
        helper.make_node("Mul", ["both", "steps"], ["actions"]),
    ],
    [tensor("image_front", TensorProto.UINT8, 1, SIDE, SIDE, 3), FEATURES, MASK],
    [tensor("actions", TensorProto.FLOAT, 1, HORIZON, DIMENSIONS)],
    {
        "last": np.array([-1]),
        "white": np.array(255, np.float32),
        "hundred": np.array(100, np.float32),
        "steps": STEPS.astype(np.float32),
    },
)

AHEAD = np.float32(0.02) * np.arange(1, 11, dtype=np.float32)[None, :, None] * np.array([[[1, 2]]], np.float32)
save(
    "act",
    [
        helper.make_node("Cast", ["image_front"], ["image"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["light"]),
        helper.make_node("Mul", ["light", "ahead"], ["way"]),
        helper.make_node("Unsqueeze", ["state", "second"], ["here"]),
        helper.make_node("Add", ["here", "way"], ["actions"]),
    ],
    [tensor("image_front", TensorProto.UINT8, 1, SIDE, SIDE, 3), tensor("state", TensorProto.FLOAT, 1, 2)],
    [tensor("actions", TensorProto.FLOAT, 1, 10, 2)],
    {"white": np.array(255, np.float32), "ahead": AHEAD, "second": np.array([1])},
)
