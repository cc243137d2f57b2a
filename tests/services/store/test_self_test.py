"""The golden samples run on the engine that the policy would use, which is compiled first where it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jetvla.engines import compile as compile_module
from jetvla.runtime.backends import load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.errors import BundleError, StoreError
from jetvla.services.store.self_test import golden_test

from ..bundles import Maker


class CompiledOnly:
    """ONNX Runtime that runs what was compiled alone, as TensorRT does."""

    runs_onnx = False

    def __init__(self) -> None:
        self._real = load_backend("onnxruntime")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_a_backend_that_runs_no_onnx_gets_its_engine_once(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = CompiledOnly()
    for module in ("jetvla.runtime.backends.load_backend", "jetvla.runtime.policy.model.load_backend"):
        monkeypatch.setattr(module, lambda name: backend)
    monkeypatch.setitem(compile_module._ROUNDS, "onnxruntime", 1)
    said: list[str] = []
    config = PolicyConfig(threads=1, engines=tmp_path / "engines")
    test = golden_test(config, said.append)
    bundle = Bundle.open(make(1), None)
    assert "onnxruntime" in test(bundle)
    assert said[0] == "onnxruntime runs compiled engines alone; compiling takes minutes"
    entries = [path.name for path in (tmp_path / "engines").iterdir() if not path.name.startswith(".")]
    assert len(entries) == 1
    said.clear()
    test(bundle)
    assert said == []


def test_the_configured_precision_is_what_is_tested(make: Maker, tmp_path: Path) -> None:
    bundle = Bundle.open(make(1), None)
    for precision in ("fp32", "int8-fp32"):
        config = PolicyConfig(precision=precision, threads=1, engines=tmp_path / "engines")
        assert f"in {precision}, onnxruntime" in golden_test(config, print)(bundle)


def test_wrong_and_missing_samples_are_refused(make: Maker, tmp_path: Path) -> None:
    test = golden_test(PolicyConfig(threads=1, engines=tmp_path / "engines"), print)
    with pytest.raises(StoreError, match=r"version 2 does not compute its golden samples .*error .* of at most"):
        test(Bundle.open(make(2, wrong=True), None))
    folder = make(3)
    (folder / "golden.npz").write_bytes(b"none")
    make.seal(folder)
    with pytest.raises(BundleError, match="holds no golden samples"):
        test(Bundle.open(folder, None))
