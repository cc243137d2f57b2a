"""Every backend holds its inputs to the manifest; the real one computes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from jetvla.runtime import backends
from jetvla.runtime.backends import BACKENDS, Engine, EngineOptions, load_backend
from jetvla.runtime.backends import onnxruntime as onnxruntime_backend
from jetvla.runtime.backends.base import spare_one_core
from jetvla.runtime.backends.onnxruntime import weights_file
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.errors import EngineError
from jetvla.runtime.manifest import GraphSpec, TensorSpec

DATA = Path(__file__).parents[2] / "data"
LANGUAGE = GraphSpec(
    file="language.onnx",
    inputs={n: TensorSpec(dtype="int64", shape=(1, 6)) for n in ("input_ids", "attention_mask")},
    outputs={
        "text_features": TensorSpec(dtype="float32", shape=(1, 6, 1)),
        "text_mask": TensorSpec(dtype="float32", shape=(1, 6)),
    },
)
IDS, MASK = np.array([[2, 3, 4, 5, 0, 0]]), np.array([[1, 1, 1, 0, 0, 0]])


def opened(name: str, graph: GraphSpec = LANGUAGE) -> Engine:
    return load_backend(name).open(DATA / "language.onnx", graph, EngineOptions())


@pytest.fixture(params=sorted(BACKENDS))
def engine(request: pytest.FixtureRequest) -> Engine:
    """On TensorRT with a fake library: see test_tensorrt.py."""
    if request.param != "tensorrt":
        return opened(request.param)
    request.getfixturevalue("trt")
    return load_backend("tensorrt").open(request.getfixturevalue("plan"), LANGUAGE, EngineOptions())


def test_onnxruntime_computes() -> None:
    outputs = opened("onnxruntime").infer({"input_ids": IDS, "attention_mask": MASK})
    assert outputs["text_features"][0, :, 0].tolist() == [2, 3, 4, 0, 0, 0]
    assert outputs["text_mask"].tolist() == [[1, 1, 1, 0, 0, 0]]


def test_outputs_are_as_the_manifest_says_and_never_shared_between_steps(engine: Engine) -> None:
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    first, second = engine.infer(inputs), engine.infer(inputs)
    for name, spec in LANGUAGE.outputs.items():
        assert first[name].shape == spec.shape
        assert first[name].dtype == spec.dtype
        assert not np.shares_memory(first[name], second[name])


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({}, "takes input_ids, attention_mask, and was given nothing"),
        ({"input_ids": IDS}, "was given input_ids"),
        ({"input_ids": IDS, "mask": MASK}, "was given input_ids, mask"),
        ({"input_ids": IDS, "attention_mask": MASK, "x": IDS}, "was given input_ids, attention_mask, x"),
        (
            {"input_ids": IDS[:, :5], "attention_mask": MASK},
            r"input_ids must be int64 \[1, 6\], not int64 \[1, 5\]",
        ),
        ({"input_ids": IDS, "attention_mask": MASK.astype(np.int32)}, "attention_mask must be int64"),
    ],
)
def test_wrong_inputs_are_named(engine: Engine, inputs: dict[str, NDArray[np.int64]], says: str) -> None:
    with pytest.raises(EngineError, match=says):
        engine.infer(inputs)


def test_a_graph_that_differs_from_its_manifest_is_refused_at_once() -> None:
    wrong = GraphSpec(
        file="language.onnx",
        inputs={
            "input_ids": TensorSpec(dtype="int64", shape=(1, 7)),
            "state": TensorSpec(dtype="float32", shape=(1, 2)),
        },
        outputs=LANGUAGE.outputs,
    )
    with pytest.raises(EngineError) as error:
        opened("onnxruntime", wrong)
    for part in (
        "no input state",
        "unexpected input attention_mask",
        r"input_ids is int64 [1, 6], not int64 [1, 7]",
    ):
        assert part in str(error.value)


def test_a_missing_output_is_refused() -> None:
    wrong = LANGUAGE.model_copy(update={"outputs": {"text_mask": LANGUAGE.outputs["text_mask"]}})
    with pytest.raises(EngineError, match="unexpected output text_features"):
        opened("onnxruntime", wrong)


@pytest.mark.parametrize("content", [None, b"", b"not onnx"])
def test_an_unreadable_graph_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match=r"cannot load .*broken\.onnx"):
        load_backend("onnxruntime").open(path, LANGUAGE, EngineOptions())


def test_auto_never_computes_nothing() -> None:
    assert load_backend("auto").name in ("onnxruntime", "tensorrt")


@pytest.mark.parametrize(
    ("library", "driver", "chosen"),
    [(True, True, "tensorrt"), (True, False, "onnxruntime"), (False, True, "onnxruntime")],
)
def test_auto_takes_tensorrt_where_it_and_a_gpu_are_there(
    monkeypatch: pytest.MonkeyPatch, library: bool, driver: bool, chosen: str
) -> None:
    def find_gpu() -> None:
        if not driver:
            raise EngineError("no CUDA device can be used")

    monkeypatch.setattr(backends, "find_spec", lambda name: object() if library else None)
    monkeypatch.setattr(backends, "find_gpu", find_gpu)
    assert load_backend("auto").name == chosen


def test_an_unknown_backend_is_named_with_those_that_exist() -> None:
    with pytest.raises(EngineError, match="no backend 'tpu'; choose from auto, tensorrt, onnxruntime, null"):
        load_backend("tpu")


def test_only_the_chosen_backend_is_imported() -> None:
    code = (
        "import sys; from jetvla.runtime.backends import load_backend; load_backend('null').version(); "
        "sys.exit('onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_core_is_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, threads in ((1, 1), (2, 1), (6, 5)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        assert spare_one_core() == threads


def test_versions_are_named() -> None:
    import onnxruntime

    assert load_backend("onnxruntime").version() == onnxruntime.__version__
    assert load_backend("null").version() == "1"


@pytest.fixture
def heavy(tmp_path: Path) -> Path:
    """A graph of 1 MB of weights in a file beside it, as the builder writes large ones."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    helper, numbers = onnx.helper, np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 512]) for name in ("x", "y"))
    weights = onnx.numpy_helper.from_array(numbers, "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "heavy", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "heavy.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)
    return path


def _resident(file: Path) -> int:
    """Kilobytes of ``file`` that this process has in memory."""
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    return sum(int(p.split("\nRss:")[1].split()[0]) for p in parts if str(file) in p)


def test_without_a_file_of_weights_there_is_nothing_to_let_go(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(tiny_bundle, None)
    spec = bundle.manifest.graphs["language.fp32"]
    asked: list[Path] = []
    monkeypatch.setattr(onnxruntime_backend, "let_go", asked.append)
    engine = load_backend("onnxruntime").open(bundle.file(spec.file), spec, EngineOptions(seldom=True))
    engine.infer({n: np.zeros(t.shape, t.dtype) for n, t in spec.inputs.items()})
    assert asked == []


def test_an_engine_that_runs_seldom_keeps_no_weights_in_memory_and_computes_the_same(
    heavy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TensorSpec(dtype="float32", shape=(1, 512))
    graph = GraphSpec(file=heavy.name, inputs={"x": spec}, outputs={"y": spec})
    backend, x = load_backend("onnxruntime"), np.ones((1, 512), np.float32)
    expected = backend.open(heavy, graph, EngineOptions()).infer({"x": x})["y"]
    seldom = backend.open(heavy, graph, EngineOptions(seldom=True))
    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime_backend, "let_go", lambda file: 0)
        np.testing.assert_allclose(seldom.infer({"x": x})["y"], expected, rtol=1e-4, atol=1e-4)
        assert _resident(weights_file(heavy)) >= 1024
    for _ in range(2):
        np.testing.assert_allclose(seldom.infer({"x": x})["y"], expected, rtol=1e-4, atol=1e-4)
        assert _resident(weights_file(heavy)) == 0
