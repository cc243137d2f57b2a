"""The opened graphs give what they should; the language part runs once for each sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.errors import BundleError, EngineError
from jetvla.runtime.manifest import GoldenSpec, GraphSpec, TensorSpec, TextSpec
from jetvla.runtime.policy.golden import run_golden
from jetvla.runtime.policy.model import Model, open_model
from jetvla.runtime.policy.precision import choose_precision

MakeBundle = Callable[..., Bundle]
Answer = Callable[[str, float], np.ndarray]


def image(level: int) -> dict[str, np.ndarray]:
    return {"image_front": np.full((1, 8, 8, 3), level, np.uint8)}


def opened(bundle: Bundle, **settings: object) -> Model:
    return open_model(bundle, PolicyConfig.model_validate(settings), MonotonicClock())


def test_the_model_computes_what_the_graphs_say(make_bundle: MakeBundle, answer: Answer) -> None:
    model = opened(make_bundle())
    for sentence, level in (("go left", 10), ("go right", 10), ("go right", 200), ("go left", 10)):
        step = model.infer(image(level), None, sentence)
        assert step.actions.shape == (2, 3)
        assert np.allclose(step.actions, answer(sentence, level), atol=1e-6)


def test_language_runs_once_for_each_sentence(make_bundle: MakeBundle) -> None:
    model = opened(make_bundle())
    times = [model.infer(image(1), None, s).language_ns for s in ("go", "go", "left", "left", "go", "go")]
    assert [t > 0 for t in times] == [True, False, True, False, True, False]


def test_a_sentence_that_is_too_long_says_how_much_was_cut(make_bundle: MakeBundle) -> None:
    assert opened(make_bundle()).infer(image(1), None, "go go go go go go left right").cut == 2


def test_auto_precision_takes_int8_on_the_cpu_where_the_bundle_has_it(make_bundle: MakeBundle) -> None:
    manifest = make_bundle().manifest
    assert choose_precision(manifest, "auto", "onnxruntime") == "int8-fp32"
    assert choose_precision(manifest, "fp32", "onnxruntime") == "fp32"
    only_fp32 = manifest.model_copy(update={"graphs": {n: g for n, g in manifest.graphs.items() if "int8" not in n}})
    assert choose_precision(only_fp32, "auto", "onnxruntime") == "fp32"
    with pytest.raises(EngineError, match=r"no step graph in int8-fp32, only in fp32; .*--precision int8-fp32"):
        choose_precision(only_fp32, "int8-fp32", "onnxruntime")


def test_auto_precision_leaves_graphs_of_other_targets_alone(make_bundle: MakeBundle) -> None:
    manifest = make_bundle().manifest
    graphs = manifest.graphs | {"step.int8-fp16": manifest.graphs["step.fp32"]}
    del graphs["step.int8-fp32"]
    both = manifest.model_copy(update={"graphs": graphs})
    assert choose_precision(both, "auto", "onnxruntime") == "fp32"


def test_the_engine_key_tells_precisions_threads_and_backends_apart(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    keys = [
        opened(bundle, **settings).key for settings in ({}, {"threads": 1}, {"backend": "null", "precision": "fp32"})
    ]
    assert len({key.digest() for key in keys}) == 3
    assert keys[0].graph == bundle.manifest.files["step.onnx"].sha256


def test_a_language_graph_with_other_inputs_is_refused(make_bundle: MakeBundle) -> None:
    def add_embedding(folder: Path) -> None:
        np.save(folder / "embedding.npy", np.zeros((5, 2), np.float32))

    bundle = make_bundle(add_embedding, text=TextSpec(max_tokens=6, pad_id=0, embedding="embedding.npy"))
    with pytest.raises(BundleError, match="must take input_embeds and attention_mask, not input_ids"):
        opened(bundle)


def test_a_kept_out_embedding_is_gathered(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    graphs = make_bundle_graphs_with_embeds()
    bundle = make_bundle(
        lambda folder: np.save(folder / "embedding.npy", table),
        text=TextSpec(max_tokens=6, pad_id=0, embedding="embedding.npy"),
        graphs=graphs,
    )
    model = opened(bundle, backend="null", precision="fp32")
    assert model._language is not None
    seen: dict[str, np.ndarray] = {}
    infer = model._language._engine.infer
    monkeypatch.setattr(model._language._engine, "infer", lambda inputs: (seen.update(inputs), infer(inputs))[1])
    model.infer(image(0), None, "go right")
    assert np.array_equal(seen["input_embeds"], table[[[2, 4, 0, 0, 0, 0]]])


def make_bundle_graphs_with_embeds() -> dict[str, GraphSpec]:
    text = {"text_features": TensorSpec(dtype="float32", shape=(1, 6, 1))}
    return {
        "language.fp32": GraphSpec(
            file="language.onnx",
            inputs={
                "input_embeds": TensorSpec(dtype="float32", shape=(1, 6, 2)),
                "attention_mask": TensorSpec(dtype="int64", shape=(1, 6)),
            },
            outputs=text,
        ),
        "step.fp32": GraphSpec(
            file="step.onnx",
            inputs={"image_front": TensorSpec(dtype="uint8", shape=(1, 8, 8, 3)), **text},
            outputs={"actions": TensorSpec(dtype="float32", shape=(1, 2, 3))},
        ),
    }


def test_golden_samples_pass_on_a_right_engine(make_bundle: MakeBundle) -> None:
    result = run_golden(opened(make_bundle()))
    assert result.passed
    assert result.samples == 3
    assert result.error <= 1e-6


def test_golden_samples_fail_on_an_engine_that_computes_nothing(make_bundle: MakeBundle) -> None:
    result = run_golden(opened(make_bundle(), backend="null", precision="fp32"))
    assert not result.passed
    # "left" is 3, in hundredths, on white: (1 + 0.03) * 2 * 3.
    assert result.error == pytest.approx(1.03 * 6, rel=1e-6)


def test_the_golden_error_is_in_units_of_each_dimensions_scale(make_bundle: MakeBundle) -> None:
    golden = GoldenSpec(count=3, scale=(1.0, 1.0, 10.0), moving=(True,) * 3, tolerance={"fp32": 4.5})
    result = run_golden(opened(make_bundle(golden=golden), backend="null", precision="fp32"))
    # Now the second dimension is the worst one.
    assert result.error == pytest.approx(1.03 * 4, rel=1e-6)
    assert result.passed


def test_an_engine_that_gives_nan_fails(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(make_bundle())
    wrong = np.zeros((1, 2, 3), np.float32)
    wrong[0, 1, 2] = np.nan
    monkeypatch.setattr(model._step, "infer", lambda _: {"actions": wrong})
    result = run_golden(model)
    assert result.error == np.inf
    assert not result.passed


def test_the_worst_sample_counts_wherever_it_is(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(make_bundle())
    right = model._step.infer
    calls: list[int] = []

    def first_is_wrong(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        calls.append(1)
        return {"actions": right(inputs)["actions"] + np.float32(0.5 if len(calls) == 1 else 0.0)}

    monkeypatch.setattr(model._step, "infer", first_is_wrong)
    assert run_golden(model).error == pytest.approx(0.5, rel=1e-5)


def _without(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        arrays = dict(np.load(folder / "golden.npz"))
        del arrays[name]
        np.savez(folder / "golden.npz", **arrays)

    return change


def _cut(folder: Path) -> None:
    arrays = dict(np.load(folder / "golden.npz"))
    np.savez(folder / "golden.npz", **(arrays | {"actions": arrays["actions"][:, :1]}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without("actions"), "holds no golden samples"),
        (_without("image_front"), "holds no golden samples"),
        (_cut, "or not of this policy"),
        (lambda folder: (folder / "golden.npz").write_bytes(b""), "holds no golden samples"),
        (lambda folder: (folder / "golden.npz").write_bytes(b"PK\x03\x04 no zip"), "holds no golden samples"),
    ],
)
def test_golden_samples_that_do_not_fit_are_named(
    make_bundle: MakeBundle, change: Callable[[Path], None], says: str
) -> None:
    with pytest.raises(BundleError, match=rf"golden\.npz.*{says}"):
        run_golden(opened(make_bundle(change)))


def test_a_precision_without_tolerance_cannot_be_judged(make_bundle: MakeBundle) -> None:
    golden = GoldenSpec(count=3, scale=(1.0, 1.0, 1.0), moving=(True,) * 3, tolerance={"fp32": 1e-5})
    with pytest.raises(BundleError, match="no golden tolerance for int8-fp32"):
        run_golden(opened(make_bundle(golden=golden)))
