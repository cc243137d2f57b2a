from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto, numpy_helper

from jetvla.engines.export import OPSET, export_graph
from jetvla.engines.families.end_to_end import family as end_to_end
from jetvla.engines.families.family import GraphSource
from jetvla.engines.graph import block_of, graph_spec, write_graph
from jetvla.engines.half import rounded, to_half
from jetvla.engines.observations import Sample
from jetvla.engines.parity import LanguageCache, step_inputs
from jetvla.engines.policy import Policy
from jetvla.engines.runner import GraphRunner
from jetvla.engines.sources import Declared, random_policy
from jetvla.runtime.tokenizer import Tokenizer

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
SAMPLE = Sample({"front": IMAGE}, None, "move to the green block")


def act(policy: Policy) -> np.ndarray:
    return policy.act(SAMPLE.images, SAMPLE.state, SAMPLE.instruction)


def test_graphs_are_portable(exported: dict[str, ModelProto]) -> None:
    for model in exported.values():
        assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
        text = model.SerializeToString()
        assert str(Path(__file__).parents[2]).encode() not in text
        assert b"site-packages" not in text
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            assert array.dtype != np.float32 or np.abs(array).max(initial=0) <= 1e4, tensor.name


def test_layer_norm_is_one_operator_and_weights_are_constants(exported: dict[str, ModelProto]) -> None:
    step = exported["step"].graph
    kinds = [node.op_type for node in step.node]
    # Two ViT layers and the final norm; three fusion layers.
    assert kinds.count("LayerNormalization") == 2 * 2 + 1 + 3 * 2
    assert "ReduceMean" not in kinds
    weights = {tensor.name for tensor in step.initializer}
    assert not [node.name for node in step.node if node.op_type == "Transpose" and node.input[0] in weights]


def test_every_node_is_named_by_its_block(exported: dict[str, ModelProto]) -> None:
    nodes = exported["step"].graph.node
    assert [node.name.rpartition("/")[2] for node in nodes] == [f"{n.op_type}_{i}" for i, n in enumerate(nodes)]
    kinds = Counter(node.op_type for node in nodes if block_of(node.name) == "ViT block 1 attention")
    # Query, key and value are one product, whose parts belong to the block too.
    assert (kinds["MatMul"], kinds["Split"], kinds["LayerNormalization"], kinds["Softmax"]) == (4, 1, 1, 1)
    # What the exporter adds itself, here a Split of a projection, belongs to what it is of.
    assert all(block_of(node.name) for node in nodes if node.op_type in ("Split", "MatMul", "Gemm", "Softmax"))
    # Preparing the image and un-normalising the action are no block.
    assert {block_of(nodes[0].name), block_of(nodes[-1].name)} == {""}


class Masked(torch.nn.Module):
    """Attention-like scores under a mask as many libraries write it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        lowest = torch.finfo(torch.float32).min
        scores = self.linear(x) @ x.transpose(1, 2) + (1.0 - mask)[:, None, :] * lowest
        scores = torch.where(mask[:, None, :] > 0, scores, torch.full((), lowest))
        return self.linear(scores.softmax(-1) @ x) * 2.0


def test_a_mask_of_the_lowest_float_survives_fp16() -> None:
    torch.manual_seed(0)
    module, x, mask = Masked().eval(), torch.randn(1, 3, 4), torch.tensor([[1.0, 1.0, 0.0]])
    model = export_graph(GraphSource("masked", module, {"x": x, "mask": mask}, ("y",)))
    feed = {"x": x.numpy(), "mask": mask.numpy()}
    truth = module(x, mask).detach().numpy()
    np.testing.assert_allclose(GraphRunner.of_model(model).run(feed)["y"], truth, atol=1e-6)
    np.testing.assert_allclose(GraphRunner.of_model(rounded(to_half(model))).run(feed)["y"], truth, atol=1e-2)


def test_the_interface_is_the_bundle_s(exported: dict[str, ModelProto]) -> None:
    language, step = (graph_spec(exported[name], name) for name in ("language", "step"))
    assert list(language.inputs) == ["input_ids", "attention_mask"]
    assert list(step.inputs) == ["image_front", *language.outputs]
    assert {name: spec for name, spec in step.inputs.items() if name != "image_front"} == language.outputs
    assert (step.inputs["image_front"].dtype, step.inputs["image_front"].shape) == ("uint8", (1, 32, 32, 3))
    assert (step.outputs["actions"].dtype, step.outputs["actions"].shape) == ("float32", (1, 1, 7))


def test_padding_is_masked_in_the_graph(policy: Policy, exported: dict[str, ModelProto]) -> None:
    language, step = (GraphRunner.of_model(exported[name]) for name in ("language", "step"))
    inputs = step_inputs(SAMPLE, LanguageCache(policy, language, None))
    masked = inputs["text_mask"] == 0
    assert masked.any()
    noisy = {**inputs, "text_features": np.where(masked[..., None], np.float32(50), inputs["text_features"])}
    noisy["text_value"] = np.where(masked[..., None], np.float32(50), inputs["text_value"])
    np.testing.assert_allclose(step.run(noisy)["actions"], step.run(inputs)["actions"], atol=1e-5)
    np.testing.assert_allclose(step.run(inputs)["actions"][0], act(policy), atol=1e-5)


def test_a_large_embedding_stays_out_of_the_graph(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = policy.family.export_plan(policy.network, policy.settings, policy.actions)
    monkeypatch.setattr(end_to_end, "EMBEDDING_IN_GRAPH", 0)
    outside = policy.family.export_plan(policy.network, policy.settings, policy.actions)
    assert inside.embedding is None
    assert outside.embedding is not None
    assert list(outside.graphs[0].inputs) == ["input_embeds", "attention_mask"]
    ids, mask = policy.encode([SAMPLE.instruction])
    by_id = inside.graphs[0].module(ids, mask)
    by_row = outside.graphs[0].module(outside.embedding[ids], mask)
    for a, b in zip(by_id, by_row, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_the_course_s_step_keeps_inputs_that_it_ignores() -> None:
    course = random_policy("tiny", Declared(attention="course"))
    plan = course.family.export_plan(course.network, course.settings, course.actions)
    step = export_graph(plan.graphs[1])
    assert list(graph_spec(step, "step").inputs) == list(plan.graphs[1].inputs)
    # Nobody said what the blocks are.
    assert {block_of(node.name) for node in step.graph.node} == {""}
    feed = {name: tensor.detach().numpy() for name, tensor in plan.graphs[1].inputs.items()}
    feed["image_front"] = IMAGE[None]
    actions = GraphRunner.of_model(step).run(feed)["actions"][0]
    np.testing.assert_allclose(actions, act(course), atol=1e-5)


def test_the_builder_tokenizes_as_the_runtime_does(policy: Policy, tmp_path: Path) -> None:
    assert policy.text is not None
    (tmp_path / "tokenizer.json").write_text(policy.text.json)
    runtime = Tokenizer(tmp_path / "tokenizer.json", 6, policy.text.pad_id)
    for sentence in ("", "pick", "Pick up the RED block!", "pick up the red block " * 5):
        ids, mask = policy.text.encode([sentence], 6)
        tokens = runtime.encode(sentence)
        np.testing.assert_array_equal(tokens.input_ids, ids)
        np.testing.assert_array_equal(tokens.attention_mask, mask)


def test_large_weights_go_beside_the_graph(
    exported: dict[str, ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetvla.engines.graph.WEIGHTS_IN_GRAPH", 1000)
    before = exported["step"].ByteSize()
    write_graph(exported["step"], tmp_path / "step.onnx")
    assert exported["step"].ByteSize() == before
    assert (tmp_path / "step.onnx.data").stat().st_size > 10_000
    assert (tmp_path / "step.onnx.data").stat().st_mode == (tmp_path / "step.onnx").stat().st_mode
    assert GraphRunner(tmp_path / "step.onnx").outputs == ("actions",)
