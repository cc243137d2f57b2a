"""The exported graph against the network, and what is left in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto

from jetvla.engines.export import export_graph
from jetvla.engines.families.act.family import FAMILY
from jetvla.engines.families.act.network import ActNetwork
from jetvla.engines.families.act.settings import ActSettings
from jetvla.engines.families.family import Batch
from jetvla.engines.families.settings import ActionNormalization
from jetvla.engines.graph import graph_spec
from jetvla.engines.half import to_half
from jetvla.engines.runner import GraphRunner

ACTIONS = ActionNormalization(mean=(1.0, -2.0), std=(0.5, 3.0))
VARIANTS: dict[str, dict[str, Any]] = {
    "LeRobot's defaults": {},
    "everything else": {
        "model": {"pre_norm": True, "activation": "gelu", "decoder_layers": 2, "encoder_layers": 1},
        "cameras": ("left", "right"),
        "state": (),
        "state_normalization": {},
    },
}
Exported = tuple[ActSettings, ActNetwork, ModelProto]


@pytest.fixture(scope="module", params=list(VARIANTS))
def exported(
    request: pytest.FixtureRequest,
    act_settings: Callable[..., ActSettings],
    random_act: Callable[[ActSettings], ActNetwork],
) -> Exported:
    settings = act_settings(**VARIANTS[request.param])
    (source,) = FAMILY.export_plan(random_act(settings), settings, ACTIONS).graphs
    return settings, random_act(settings), export_graph(source, FAMILY.block)


def feeds(settings: ActSettings) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    inputs: dict[str, np.ndarray] = {}
    for camera in settings.cameras:
        squares = rng.integers(0, 256, (1, 4, 4, 3), np.uint8)
        inputs[f"image_{camera.name}"] = squares.repeat(camera.height // 4, 1).repeat(camera.width // 4, 2)
    if settings.state:
        inputs["state"] = rng.normal(size=(1, len(settings.state))).astype(np.float32)
    return inputs


def test_the_graph_is_the_network_in_physical_units(exported: Exported) -> None:
    settings, network, model = exported
    inputs = feeds(settings)
    actions = GraphRunner.of_model(model).run(inputs)["actions"]
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    images = {camera.name: tensors[f"image_{camera.name}"] for camera in settings.cameras}
    with torch.no_grad():
        normalised = FAMILY.act(network, settings, Batch(images, tensors.get("state"), None, None)).numpy()
    np.testing.assert_allclose(actions, normalised * [0.5, 3.0] + [1.0, -2.0], atol=1e-5)


def test_tensorrt_builds_it(
    exported: Exported, tmp_path: Path, build_plans: Callable[..., dict[str, int | str]]
) -> None:
    for name, model in (("fp32", exported[2]), ("fp16", to_half(exported[2]))):
        onnx.save(model, tmp_path / f"{name}.onnx")
    made = build_plans(tmp_path / "fp32.onnx", tmp_path / "fp16.onnx")
    assert all(isinstance(size, int) for size in made.values()), made


def test_exporting_leaves_the_network_as_it_is(
    act_settings: Callable[..., ActSettings], random_act: Callable[[ActSettings], ActNetwork]
) -> None:
    settings = act_settings()
    network = random_act(settings)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    FAMILY.export_plan(network, settings, ACTIONS)
    assert list(network.state_dict()) == list(before)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_the_interface_is_the_bundle_s(exported: Exported) -> None:
    settings, _, model = exported
    spec = graph_spec(model, "step")
    images = {f"image_{camera.name}": ("uint8", (1, 64, 64, 3)) for camera in settings.cameras}
    state = {"state": ("float32", (1, 3))} if settings.state else {}
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in spec.inputs.items()} == {**images, **state}
    assert spec.outputs["actions"].shape == (1, 5, 2)


def test_nothing_is_computed_that_no_input_changes(exported: Exported) -> None:
    settings, _, model = exported
    constants = {tensor.name for tensor in model.graph.initializer} | {""}
    assert not [node.name for node in model.graph.node if constants.issuperset(node.input)]
    kinds = Counter(node.op_type for node in model.graph.node)
    assert not set(kinds) & {"Shape", "Range", "ConstantOfShape", "Expand", "Where", "Sin", "Cos", "Constant"}
    encoders, decoders = settings.model.encoder_layers, settings.model.decoder_layers
    # The projection of the features is one more; batch norms are in the convolutions.
    assert kinds["Conv"] == 20 + 1
    assert {n.op_type for n in model.graph.node if n.name.startswith("ResNet")} == {"Conv", "Relu", "Add", "MaxPool"}
    # The first decoder layer has no self-attention left, and no query to compute.
    assert kinds["Softmax"] == encoders + 2 * decoders - 1
    weighted = [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in constants]
    # Query, key and value are one product; keys and values of all decoder layers are one, counted with the first.
    first, each_other, state = 4, 6, min(len(settings.state), 1)
    assert len(weighted) == 4 * encoders + first + each_other * (decoders - 1) + state + 1


def test_every_product_has_a_block_that_people_know(exported: Exported) -> None:
    settings, _, model = exported
    names = [node.name.rsplit("/", 1)[0] for node in model.graph.node if node.op_type in ("Conv", "MatMul", "Softmax")]
    encoders, decoders = settings.model.encoder_layers, settings.model.decoder_layers
    expected = {"ResNet stem", "image projection", "action head"}
    expected |= {f"ResNet layer {layer} block {block}" for layer in range(1, 5) for block in range(2)}
    expected |= {f"encoder layer {i} {part}" for i in range(encoders) for part in ("attention", "feed-forward")}
    expected |= {f"decoder layer {i} {part}" for i in range(decoders) for part in ("cross-attention", "feed-forward")}
    expected |= {f"decoder layer {i} attention" for i in range(1, decoders)}
    if settings.state:
        expected.add("state projection")
    assert set(names) == expected


def test_blocks_are_the_same_in_the_network() -> None:
    for module, name in (
        ("model.backbone.conv1", "ResNet stem"),
        ("model.backbone.layer3.1.conv2", "ResNet layer 3 block 1"),
        ("model.encoder.layers.0.self_attn.out_proj", "encoder layer 0 attention"),
        ("model.encoder.layers.0.linear2", "encoder layer 0 feed-forward"),
        ("model.decoder.layers.0.multihead_attn", "decoder layer 0 cross-attention"),
        ("model.action_head", "action head"),
        ("model", ""),
        ("", ""),
    ):
        assert FAMILY.block(module) == name
