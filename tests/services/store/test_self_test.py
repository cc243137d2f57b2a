"""The golden samples run on the engine that the policy would use, which is compiled first where it must be."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jetvla.engines import compile as compile_module
from jetvla.runtime.backends import load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.engine_cache import EngineCache, engine_key
from jetvla.runtime.errors import BundleError, StoreError
from jetvla.services.engine_owner import as_owner
from jetvla.services.store.self_test import golden_test

from ..bundles import Maker

NOBODY = 65534


class CompiledOnly:
    """ONNX Runtime that runs what was compiled alone, as TensorRT does."""

    runs_onnx = False

    def __init__(self) -> None:
        self._real = load_backend("onnxruntime")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def compiled_only(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = CompiledOnly()
    for module in ("jetvla.runtime.backends.load_backend", "jetvla.runtime.policy.model.load_backend"):
        monkeypatch.setattr(module, lambda name: backend)
    monkeypatch.setitem(compile_module._ROUNDS, "onnxruntime", 1)


@pytest.fixture
def others_cache() -> Iterator[Path]:
    """A folder of engines that belongs to another account than root, where that account can look."""
    if os.geteuid() != 0:
        pytest.skip("root alone can be somebody else")
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        cache = Path(place) / "engines"
        cache.mkdir()
        os.chown(cache, NOBODY, NOBODY)
        yield cache


@pytest.mark.usefixtures("compiled_only")
def test_what_root_compiles_belongs_to_the_folders_owner(make: Maker, others_cache: Path) -> None:
    bundle = Bundle.open(Path(shutil.copytree(make(1), others_cache.parent / "bundle")), None)
    # Whatever is loaded at need is loaded by then: the interpreter of this test may be root's alone.
    for cache in (others_cache.with_name("of-root"), others_cache):
        golden_test(PolicyConfig(threads=1, engines=cache), lambda _: None)(bundle)
    assert os.geteuid() == 0
    made = [*others_cache.rglob("*"), *others_cache.rglob(".*")]
    assert any(path.name == "entry.json" for path in made)
    assert {path.lstat().st_uid for path in made} == {NOBODY}


def test_so_does_what_a_compilation_leaves_that_failed_or_was_killed(
    make: Maker, others_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = engine_key(Bundle.open(make(1), None), load_backend("onnxruntime"))
    for deed in (lambda: os._exit(0), lambda: os.kill(os.getpid(), signal.SIGKILL)):
        child = os.fork()
        if child == 0:
            with as_owner(others_cache), EngineCache(others_cache).publishing(key) as publication:
                (publication.folder / "half").touch()
                deed()
        os.waitpid(child, 0)
    left = [*others_cache.rglob("*"), *others_cache.rglob(".*")]
    assert {".lock", "half"} <= {path.name for path in left}
    assert {path.lstat().st_uid for path in left} == {NOBODY}
    with pytest.raises(RuntimeError), as_owner(others_cache):
        raise RuntimeError
    assert (os.geteuid(), os.getegid()) == (0, 0)


def test_a_new_folder_of_engines_is_the_policys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("root alone can be somebody else")
    monkeypatch.setattr("jetvla.services.engine_owner.ACCOUNT", "nobody")
    with as_owner(tmp_path / "cache" / "engines"):
        assert os.geteuid() == NOBODY
    assert (tmp_path / "cache" / "engines").stat().st_uid == NOBODY
    monkeypatch.setattr("jetvla.services.engine_owner.ACCOUNT", "jetvla-no-such-account")
    with as_owner(tmp_path / "other"):
        assert os.geteuid() == 0


@pytest.mark.usefixtures("compiled_only")
def test_a_backend_that_runs_no_onnx_gets_its_engine_once(make: Maker, tmp_path: Path) -> None:
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
