"""The engine cache holds whole entries or none, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jetvla.runtime import engine_cache
from jetvla.runtime.backends import load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.engine_cache import ENTRY, EngineCache, differences, engine_key
from jetvla.runtime.engine_entry import CandidateReport, CompiledEngine, Entry
from jetvla.runtime.engine_key import EngineKey, Machine
from jetvla.runtime.errors import EngineError

KEY = EngineKey("ab" * 32, "tensorrt", "10.3.0", Machine(gpu="Orin", compute_capability="8.7"))
DRAFT = Entry(
    policy="tiny 1",
    candidate="fp16",
    precision="fp16",
    step="step.fp16.plan",
    language="language.plan",
    candidates=(CandidateReport(name="fp16", precision="fp16", integers=False, verdict="chosen"),),
    rounds=3,
    options={},
    environment={},
)


def publish(cache: EngineCache, key: EngineKey = KEY, step: bytes = b"plan") -> CompiledEngine:
    with cache.publishing(key) as publication:
        (publication.folder / "step.fp16.plan").write_bytes(step)
        (publication.folder / "language.plan").write_bytes(b"words")
        return publication.finish(DRAFT)


def hidden(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith(".") and path.name != ".lock"]


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def test_what_was_published_is_found_under_its_key_alone(cache: EngineCache) -> None:
    assert cache.find(KEY) is None
    published = publish(cache)
    found = cache.find(KEY)
    assert found == published
    assert found.entry.key["machine"]["gpu"] == "Orin"
    assert (found.folder / "step.fp16.plan").read_bytes() == b"plan"
    assert cache.find(replace(KEY, backend_version="10.13.3.9")) is None
    assert hidden(cache.root) == []


def test_a_second_publication_replaces_the_first(cache: EngineCache) -> None:
    publish(cache)
    publish(cache, step=b"another")
    found = cache.find(KEY)
    assert found is not None
    assert (found.folder / "step.fp16.plan").read_bytes() == b"another"
    assert hidden(cache.root) == []


def alter(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return change


def name_another_file(folder: Path) -> None:
    entry = json.loads((folder / ENTRY).read_text())
    (folder / ENTRY).write_text(json.dumps({**entry, "step": "../step.plan"}))


def in_state(**state: str) -> EngineKey:
    return replace(KEY, machine=replace(KEY.machine, **state))


def test_a_former_engine_is_that_of_the_same_machine_in_another_state(cache: EngineCache) -> None:
    now = in_state(power_mode="2", jetpack="R36 (release), REVISION: 4.4")
    assert cache.former(now) is None
    publish(cache, replace(KEY, graph="cd" * 32))
    publish(cache, replace(KEY, backend_version="10.13.3.9"))
    publish(cache, in_state(gpu="Thor"))
    publish(cache, in_state(compute_capability="11.0"))
    publish(cache, replace(KEY, options=(("threads", "2"),)))
    assert cache.former(now) is None
    published = publish(cache)
    assert cache.former(now) == published
    assert differences(now, published) == "jetpack: R36 (release), REVISION: 4.4, was none; power_mode: 2, was none"
    assert cache.find(now) is None


def test_the_newest_former_engine_that_is_whole_is_taken(cache: EngineCache) -> None:
    names = ["one", "two", "three"]
    made = [publish(cache, in_state(power_mode=name)) for name in names]
    for second, engine in enumerate(made):
        os.utime(engine.folder / ENTRY, (second, second))
    assert cache.former(KEY) == made[2]
    alter("step.fp16.plan")(made[2].folder)
    assert cache.former(KEY) == made[1]
    (made[1].folder / ENTRY).write_text("{")
    assert cache.former(KEY) == made[0]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (alter("step.fp16.plan"), "step.fp16.plan is altered"),
        (lambda folder: (folder / "language.plan").unlink(), "language.plan is missing"),
        (lambda folder: (folder / ENTRY).unlink(), "entry.json cannot be read"),
        (lambda folder: (folder / ENTRY).write_text("{"), "entry.json cannot be read"),
        (name_another_file, "names a file without a digest"),
    ],
)
def test_a_damaged_entry_is_not_used(cache: EngineCache, damage: Callable[[Path], None], says: str) -> None:
    folder = publish(cache).folder
    damage(folder)
    with pytest.raises(EngineError, match=says) as caught:
        cache.find(KEY)
    assert str(folder) in str(caught.value)
    assert "jetvla compile" in str(caught.value)


def test_an_entry_of_another_engine_is_not_used(cache: EngineCache) -> None:
    other = replace(KEY, graph="cd" * 32)
    publish(cache).folder.rename(cache.folder(other))
    with pytest.raises(EngineError, match="that of another engine"):
        cache.find(other)


def test_a_failed_compilation_leaves_the_old_entry_and_nothing_else(cache: EngineCache) -> None:
    published = publish(cache)

    def interrupted() -> None:
        with cache.publishing(KEY) as publication:
            (publication.folder / "step.fp16.plan").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert cache.find(KEY) == published
    assert hidden(cache.root) == []


def test_a_compilation_that_does_not_finish_publishes_nothing(cache: EngineCache) -> None:
    with cache.publishing(KEY) as publication:
        (publication.folder / "step.fp16.plan").write_bytes(b"plan")
    assert cache.find(KEY) is None
    assert hidden(cache.root) == []


def test_a_full_disk_is_said_and_leaves_nothing(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EngineError, match=r"No space left on device; free some space"):
        publish(cache)
    assert cache.find(KEY) is None
    assert hidden(cache.root) == []


def test_a_folder_that_cannot_be_written_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"no engine can be written to .*--engines DIR or policy\.engines"):
        publish(EngineCache(tmp_path / "file" / "engines"))


def test_everything_is_on_the_disk_before_it_is_visible(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut may lose what was not synchronised, and keep a later rename."""
    happened: list[str] = []
    real_sync, real_rename = engine_cache.sync, Path.rename

    def sync(path: Path) -> None:
        happened.append(f"sync {path.name if path.is_file() or path == cache.root else 'folder'}")
        real_sync(path)

    def rename(path: Path, target: Path) -> Path:
        happened.append("rename")
        return real_rename(path, target)

    monkeypatch.setattr(engine_cache, "sync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    publish(cache)
    files = {f"sync {name}" for name in (ENTRY, "step.fp16.plan", "language.plan")}
    assert set(happened[:3]) == files
    assert happened[3:] == ["sync folder", "rename", "sync engines"]


# Kills itself at the n-th thing that Python does to the file system below the cache, for every n.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_engine_cache import DRAFT, KEY, publish
from jetvla.runtime.engine_cache import EngineCache
from jetvla.runtime.errors import EngineError

root, moments, left = Path(sys.argv[1]), 0, 0
before = sys.argv[3] == "again"
for moment in range(1000):
    shutil.rmtree(root, ignore_errors=True)
    cache = EngineCache(root)
    if before:
        publish(cache, step=b"old")
    child = os.fork()
    if child == 0:
        count = 0
        def watch(event, arguments):
            global count
            if event.partition(".")[0] in ("os", "open", "shutil") and str(root) in str(arguments[:1]):
                if count == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
        sys.addaudithook(watch)
        publish(cache, step=b"new")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    found = cache.find(KEY)
    kept = None if found is None else (found.folder / "step.fp16.plan").read_bytes()
    assert kept in (None, b"old", b"new"), kept
    left += any(path.name.endswith(".partial") for path in root.glob(".*")) if root.exists() else 0
    assert publish(cache, step=b"next").folder == cache.find(KEY).folder
    assert not any(path.name.endswith(".partial") for path in root.glob(".*"))
    if status == 0:
        break
    moments += 1
print(moments, left)
"""


@pytest.mark.parametrize("before", ["first", "again"])
def test_killed_at_any_moment_there_is_a_whole_entry_or_none(tmp_path: Path, before: str) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "engines"), str(Path(__file__).parent), before]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    moments, left = map(int, ran.stdout.split())
    assert moments > 15
    # Some of the moments leave a hidden folder, which the next publication removed.
    assert left > 5


def test_what_a_living_process_writes_is_left_alone(cache: EngineCache) -> None:
    with cache.publishing(KEY) as slow:
        (slow.folder / "step.fp16.plan").write_bytes(b"slow")
        publish(cache, step=b"fast")
        (slow.folder / "language.plan").write_bytes(b"words")
        slow.finish(DRAFT)
    found = cache.find(KEY)
    assert found is not None
    assert (found.folder / "step.fp16.plan").read_bytes() == b"slow"


def test_kernel_timings_are_kept_for_every_graph_of_one_machine(cache: EngineCache) -> None:
    assert cache.timings(KEY) == b""
    with cache.publishing(KEY):
        cache.keep_timings(KEY, b"learnt")
    assert cache.timings(replace(KEY, graph="cd" * 32)) == b"learnt"
    assert cache.timings(replace(KEY, backend_version="11.4.0.106")) == b""
    assert cache.timings(replace(KEY, machine=Machine(gpu="Thor"))) == b""


def test_the_engine_of_a_bundle_knows_its_files(cache: EngineCache, tiny_bundle: Path) -> None:
    bundle, backend = Bundle.open(tiny_bundle, None), load_backend("onnxruntime")
    key = engine_key(bundle, backend)
    assert (key.graph, key.backend, key.backend_version) == (bundle.digest, "onnxruntime", backend.version())
    own = DRAFT.model_copy(update={"precision": "int8-fp32", "step": None, "language": None})
    with cache.publishing(key) as publication:
        compiled = publication.finish(own)
    language = compiled.language(bundle)
    assert compiled.step(bundle).path == tiny_bundle / "step.int8-fp32.onnx"
    assert language is not None
    assert language.path == tiny_bundle / "language.fp32.onnx"
    made = CompiledEngine(tmp := compiled.folder, own.model_copy(update={"step": "step.x.onnx"})).step(bundle)
    assert (made.path, made.graph.file) == (tmp / "step.x.onnx", "step.x.onnx")
    assert made.graph.inputs == bundle.manifest.graphs["step.int8-fp32"].inputs


def test_a_copied_cache_is_as_good(cache: EngineCache, tmp_path: Path) -> None:
    publish(cache)
    shutil.copytree(cache.root, tmp_path / "copy")
    assert EngineCache(tmp_path / "copy").find(KEY) is not None


@pytest.mark.parametrize("name", [ENTRY, "step.fp16.plan"])
def test_a_file_that_cannot_be_read_is_named(cache: EngineCache, name: str) -> None:
    folder = publish(cache).folder
    (folder / name).unlink()
    # Even root cannot read a link that leads to itself.
    (folder / name).symlink_to(folder / name)
    with pytest.raises(EngineError, match=rf"{name}.*make it again with 'jetvla compile'"):
        cache.find(KEY)
