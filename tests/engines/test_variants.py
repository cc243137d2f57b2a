from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from jetvla.engines import integers
from jetvla.engines.graph import block_of
from jetvla.engines.integers import Ranges
from jetvla.engines.observations import Observations, random_observations
from jetvla.engines.outliers import inject_into_graph
from jetvla.engines.policy import Policy
from jetvla.engines.quantize import collect_ranges, find_sites
from jetvla.engines.runner import GraphRunner
from jetvla.engines.smooth import collect_maxima, find_foldable, fold, smoothing_factors
from jetvla.engines.variants import Request, Variant, Wish, make_variants
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.errors import ConfigError, EngineError

Feed = dict[str, NDArray[Any]]
SENSITIVE = "fusion layer 2 feed-forward"


@dataclass(frozen=True)
class Case:
    """What variants are made from. Seven dimensions of range 1, all of which move."""

    step: ModelProto
    action: ActionSpec
    observations: Observations
    feeds: list[Feed]

    def make(self, wish: Wish, ranges: Ranges | None = None, step: ModelProto | None = None) -> list[Variant]:
        model = self.step if step is None else step
        runner = GraphRunner.of_model(model)
        judging = self.feeds[8:]
        truth = np.concatenate([runner.run(feed)["actions"] for feed in judging])
        said: list[str] = []
        return make_variants(
            model, self.action, self.observations, self.feeds[:8], judging, truth, wish, said.append, ranges
        )


def wish(request: Request, tolerance: float | list[float], **others: Any) -> Wish:
    target = others.pop("target", "cpu")
    return Wish(request, target, np.broadcast_to(np.float64(tolerance), 7).copy(), **others)


@pytest.fixture(scope="module")
def case(policy: Policy, exported: dict[str, ModelProto]) -> Case:
    rng, language = np.random.default_rng(0), GraphRunner.of_model(exported["language"])
    text = language.run({"input_ids": rng.integers(1, 12, (1, 12)), "attention_mask": np.ones((1, 12), np.int64)})
    feeds = [{"image_front": rng.integers(0, 256, (1, 32, 32, 3), np.uint8), **text} for _ in range(16)]
    return Case(exported["step"], policy.settings.action, random_observations(policy.settings), feeds)


@pytest.fixture(scope="module")
def sensitive(case: Case) -> ModelProto:
    """One hidden unit of :data:`SENSITIVE` is 300 times as large, and what reads it as many times smaller: the same
    function, of whose other units INT8 keeps nothing."""
    model = type(case.step)()
    model.CopyFrom(case.step)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    first, second = (site.weight for site in find_sites(model) if site.block == SENSITIVE)
    nodes = {name: node for node in model.graph.node for name in node.input}
    bias = next(n for n in nodes[nodes[first].output[0]].input if n in weights)
    for name, where, factor in ((first, np.s_[:, 3], 300), (bias, np.s_[3], 300), (second, np.s_[3], 1 / 300)):
        array = numpy_helper.to_array(weights[name]).copy()
        array[where] *= factor
        tensor = numpy_helper.from_array(array, f"{name}__sensitive")
        model.graph.initializer.append(tensor)
        for node in model.graph.node:
            if block_of(node.name) == SENSITIVE:
                node.input[:] = [tensor.name if n == name else n for n in node.input]
    return model


def test_the_search_leaves_the_sensitive_block_in_float(case: Case, sensitive: ModelProto) -> None:
    (everything,) = case.make(wish("int8", 1.0, force=True, smooth="off"), step=sensitive)
    (plain,) = case.make(wish("int8", 1.0, force=True, smooth="off"))
    # Between what the policy costs without that block's fault and with it.
    tolerance = 3 * plain.report.relative_error
    assert everything.report.relative_error > 1.5 * tolerance
    (found,) = case.make(wish("auto", tolerance), step=sensitive)
    report = found.report
    assert report.written
    assert report.tolerance_share <= 1
    by_name = {block.name: block for block in report.blocks}
    assert by_name[SENSITIVE].precision == "float"
    assert by_name[SENSITIVE].alone == max(block.alone or 0 for block in report.blocks)
    integer = [block for block in report.blocks if block.precision == "int8"]
    assert sum(block.share for block in integer) > 0.6
    assert report.float_nodes == sum(1 for site in find_sites(sensitive) if by_name[site.block].precision == "float")
    assert found.model is not None
    quantized = {block_of(n.name) for n in found.model.graph.node if n.op_type == "QuantizeLinear"}
    assert quantized == {block.name for block in integer}


def test_less_is_asked_for_when_the_held_out_samples_are_harder(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a policy that was trained on the calibration episodes are."""
    (everything,) = case.make(wish("int8", 1.0, smooth="off"))
    tolerance = everything.report.relative_error / 1.3
    real = integers._Bench.score
    monkeypatch.setattr(integers._Bench, "score", lambda bench, plan: 0.45 * real(bench, plan))
    (found,) = case.make(wish("auto", tolerance, smooth="off"))
    assert found.report.written
    precisions = [block.precision for block in found.report.blocks]
    assert 0 < precisions.count("float") < len(precisions)
    assert 0.2 < found.report.tolerance_share <= 1
    # Where even a quarter of the tolerance is too much, what came nearest is reported.
    monkeypatch.setattr(integers._Bench, "score", lambda bench, plan: 1e-3 * real(bench, plan))
    (missed,) = case.make(wish("auto", tolerance, smooth="off"))
    assert not missed.report.written
    assert missed.report.tolerance_share == pytest.approx(1.3)


def test_int8_puts_every_block_into_it_without_a_search(case: Case) -> None:
    (variant,) = case.make(wish("int8", 1.0))
    assert {block.precision for block in variant.report.blocks} == {"int8"}
    assert {block.alone for block in variant.report.blocks} == {None}
    assert (variant.report.quantized_nodes, variant.report.float_nodes) == (len(find_sites(case.step)), 0)


def test_a_reason_names_the_dimension_and_by_how_much(case: Case) -> None:
    names = case.action.names
    limits = [1.0] * 7
    limits[4] = 1e-7
    (variant,) = case.make(wish("auto", limits))
    assert not variant.report.written
    match = re.fullmatch(
        rf"action error of {names[4]}, the worst, is \S+ rad/s, (\d+)% of its tolerance 1e-07 rad/s: over it",
        variant.report.reason,
    )
    assert match is not None, variant.report.reason
    assert int(match[1]) > 100
    assert variant.report.tolerance == tuple(limits)
    assert variant.report.tolerance_share == pytest.approx(int(match[1]) / 100, rel=0.01)
    # Nothing fits, so that what was judged is all of it.
    assert {block.precision for block in variant.report.blocks} == {"int8"}
    assert all((block.alone or 0) > 0.5 for block in variant.report.blocks)


def test_a_dimension_that_does_not_move_is_not_judged(case: Case) -> None:
    limits = [1.0] * 7
    limits[4] = 1e-7
    still = dataclasses.replace(case.observations, moving=np.arange(7) != 4)
    (variant,) = dataclasses.replace(case, observations=still).make(wish("auto", limits))
    assert variant.report.written
    relative = np.delete(np.array(variant.report.error.mean) / still.scale, 4)
    assert variant.report.relative_error == pytest.approx(relative.max())


def test_int8_over_tolerance_fails_unless_forced(case: Case) -> None:
    with pytest.raises(EngineError, match=r"int8-fp32: action error .* over it; use --precision auto"):
        case.make(wish("int8", 1e-9))
    (forced,) = case.make(wish("int8", 1e-9, force=True))
    assert forced.report.written
    assert forced.report.reason.endswith("over it, forced")


def test_smooth_quant_is_taken_where_it_helps(case: Case) -> None:
    injected = inject_into_graph(case.step)
    made = {how: case.make(wish("int8", 10.0, smooth=how), step=injected)[0].report for how in ("auto", "on", "off")}
    assert made["auto"].smooth_alpha == made["on"].smooth_alpha == 0.5
    assert made["off"].smooth_alpha is None
    assert made["auto"].relative_error == made["on"].relative_error < 0.5 * made["off"].relative_error


def test_every_precision_is_near_float(case: Case) -> None:
    variants = case.make(wish("auto", 0.5, target="both"))
    assert [v.report.precision for v in variants] == ["fp16", "int8-fp32", "int8-fp16"]
    assert all(v.report.written for v in variants)
    half, integer, both = (v.report for v in variants)
    assert half.relative_error < integer.relative_error / 5
    assert half.blocks == ()
    assert integer.blocks == both.blocks


def test_tensorrt_builds_every_precision(
    case: Case, exported: dict[str, ModelProto], tmp_path: Path, build_plans: Callable[..., dict[str, int | str]]
) -> None:
    models = {"language": exported["language"], "fp32": case.step}
    models |= {v.report.precision: v.model for v in case.make(wish("auto", 0.5, target="both")) if v.model is not None}
    for name, model in models.items():
        onnx.save(model, tmp_path / f"{name}.onnx")
    made = build_plans(*(tmp_path / f"{name}.onnx" for name in models))
    assert set(made) == {"language", "fp32", "fp16", "int8-fp32", "int8-fp16"}
    assert all(isinstance(size, int) for size in made.values()), made


def test_fp16_that_overflows_is_not_written_and_says_so(case: Case) -> None:
    """One attention output is beyond 65504 on its way, and harmless after it."""
    model = type(case.step)()
    model.CopyFrom(case.step)
    node = next(n for n in model.graph.node if n.op_type == "Relu")
    _scale_between(model, node.output[0], 1e6)
    half, integer = case.make(wish("auto", 0.5, target="jetson"), step=model)
    assert (half.report.precision, half.report.written, half.model) == ("fp16", False, None)
    assert "not finite: actions" in half.report.reason
    reached = re.search(
        rf"; {re.escape(block_of(node.name))} reaches (\S+), and FP16 ends at 65504", half.report.reason
    )
    assert reached is not None, half.report.reason
    assert float(reached[1]) > 65504
    assert integer.report.precision == "int8-fp16"
    with pytest.raises(EngineError, match="fp16: not finite"):
        case.make(wish("fp16", 0.5, target="jetson", force=True), step=model)


def _scale_between(model: ModelProto, name: str, factor: float) -> None:
    """Multiply and divide tensor ``name`` by ``factor``, before anything reads it."""
    from onnx import helper

    from jetvla.engines.graph import sort_nodes

    block = next(block_of(node.name) for node in model.graph.node if name in node.output)
    for node in model.graph.node:
        node.input[:] = ["divided" if n == name else n for n in node.input]
    for value, constant in ((factor, "up"), (1 / factor, "down")):
        parts = [numpy_helper.from_array(np.float32(value**0.5), constant)]
        model.graph.initializer.extend(parts)
    steps = [(name, "up"), ("one", "up"), ("two", "down"), ("three", "down")]
    outputs = ["one", "two", "three", "divided"]
    for number, ((source, constant), output) in enumerate(zip(steps, outputs, strict=True)):
        model.graph.node.append(
            helper.make_node("Mul", [source, constant], [output], name=f"{block}/Mul_{9000 + number}")
        )
    sort_nodes(model.graph)


def test_ranges_of_a_file_are_taken(case: Case) -> None:
    seen = collect_ranges(case.step, find_sites(case.step), case.feeds[:8])
    limits = {name: histogram.limit("mse") for name, histogram in seen.items()}
    (collected,) = case.make(wish("int8", 1.0, smooth="off"))
    (taken,) = case.make(wish("int8", 1.0), Ranges(limits))
    assert taken.report == collected.report
    (narrow,) = case.make(wish("int8", 10.0), Ranges({name: limit / 20 for name, limit in limits.items()}))
    assert narrow.report.relative_error > 5 * taken.report.relative_error


def test_a_file_may_be_of_a_smoothed_graph(case: Case) -> None:
    feeds = case.feeds[:8]
    factors = smoothing_factors(case.step, collect_maxima(case.step, feeds))
    folded = fold(case.step, factors)
    limits = {n: h.limit("mse") for n, h in collect_ranges(folded, find_sites(folded), feeds).items()}
    (collected,) = case.make(wish("int8", 1.0, smooth="on"))
    (taken,) = case.make(wish("int8", 1.0), Ranges(limits, factors, 0.5))
    assert taken.report == collected.report
    with pytest.raises(ConfigError, match="made with SmoothQuant on"):
        case.make(wish("int8", 1.0, smooth="off"), Ranges(limits, factors, 0.5))


def test_a_file_of_another_graph_is_refused(case: Case) -> None:
    with pytest.raises(ConfigError, match="does not fit the policy's graph, first at 'conv2d__patches'"):
        case.make(wish("auto", 1.0), Ranges({"other": 1.0}))
    limits = dict.fromkeys([site.activation for site in find_sites(case.step)], 1.0)
    output = find_foldable(case.step)[0].output
    good, strange = ({name: np.ones(16, np.float32)} for name in (output, "other"))
    assert case.make(wish("int8", 100.0), Ranges(limits, good, 0.5))
    with pytest.raises(ConfigError, match="first at 'other'"):
        case.make(wish("int8", 1.0), Ranges(limits, strange, 0.5))


def test_a_cpu_has_no_use_for_fp16() -> None:
    with pytest.raises(ConfigError, match="--precision fp16 is of no use with --target cpu"):
        wish("fp16", 1.0).precisions()
