from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from jetvla.engines import publication
from jetvla.engines.publication import published
from jetvla.runtime.errors import ConfigError


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_finished_folder_appears(tmp_path: Path) -> None:
    with published(tmp_path / "bundle", overwrite=False) as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "bundle").exists()
    assert names(tmp_path) == ["bundle"]
    assert names(tmp_path / "bundle") == ["a"]


def test_a_packed_file_appears(tmp_path: Path) -> None:
    with published(tmp_path / "bundle.jetvla", overwrite=False) as folder:
        (folder / "a").write_text("1")
    assert names(tmp_path) == ["bundle.jetvla"]
    assert (tmp_path / "bundle.jetvla").is_file()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with published(tmp_path / "bundle", overwrite=False) as folder:
            (folder / "manifest.json").write_text("{}")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []


def test_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").touch()
    with pytest.raises(ValueError, match="no"), published(tmp_path / "bundle", overwrite=True):
        raise ValueError("no")
    assert names(tmp_path / "bundle") == ["manifest.json"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_overwriting_must_be_asked_for(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "bundle"
    if kind == "folder":
        output.mkdir()
        (output / "manifest.json").touch()
    else:
        output.touch()
    with pytest.raises(ConfigError, match="add --overwrite"), published(output, overwrite=False):
        pytest.fail("must not get here")
    with published(output, overwrite=True) as folder:
        (folder / "new").touch()
    assert names(output) == ["new"]
    assert names(tmp_path) == ["bundle"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_nothing_but_a_bundle_is_replaced(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "thesis"
    if kind == "folder":
        output.mkdir()
        (output / "thesis.tex").write_text("years")
    else:
        output.write_text("years")
    with pytest.raises(ConfigError, match="thesis is no bundle"), published(output, overwrite=True):
        pytest.fail("must not get here")
    assert names(tmp_path) == ["thesis"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, there: bool) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    if there:
        target.mkdir()
    with published(link, overwrite=True) as folder:
        (folder / "manifest.json").touch()
    assert names(tmp_path) == ["link", "target"]
    assert link.is_symlink()
    assert names(target) == ["manifest.json"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("", "is already there"),
        ("/", "is already there, and is no bundle"),
        ("/dev/null", "is no bundle"),
        ("loop", "cannot write loop"),
        (os.fsdecode(b"\xff"), "is no name in UTF-8"),
        ("x" * 253, "File name too long"),
    ],
)
def test_what_is_no_place_for_a_bundle_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    overwrite = bool(output)
    with pytest.raises(ConfigError, match=message), published(Path(output), overwrite) as folder:
        (folder / "a").touch()
    assert names(tmp_path) == ["loop"]


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere is not a folder"), published(tmp_path / "nowhere" / "b", False):
        pytest.fail("must not get here")


_DIES = """
import sys, time
from pathlib import Path
from jetvla.engines.publication import published
with published(Path(sys.argv[1]), overwrite=False) as folder:
    (folder / "step.fp32.onnx").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_build_leaves_no_bundle_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    output = tmp_path / "bundle"
    process = subprocess.Popen([sys.executable, "-c", _DIES, str(output)], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not output.exists()
    assert names(tmp_path) == [".bundle.new"]
    with published(output, overwrite=False) as folder:
        (folder / "a").touch()
    assert names(tmp_path) == ["bundle"]


def test_two_processes_never_write_the_same_output(tmp_path: Path) -> None:
    output = tmp_path / "bundle"
    process = subprocess.Popen([sys.executable, "-c", _DIES, str(output)], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(ConfigError, match="another process is writing"), published(output, overwrite=True):
            pytest.fail("must not get here")
        assert (tmp_path / ".bundle.new" / "step.fp32.onnx").read_text() == "half"
        process.kill()


def test_the_next_process_may_begin_while_the_former_still_clears_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, remove = tmp_path / "bundle", publication._remove
    with published(output, overwrite=False) as folder:
        (folder / "manifest.json").write_text("former")

    def next_process(path: Path) -> None:
        monkeypatch.setattr(publication, "_remove", remove)
        following = resources.enter_context(published(output, overwrite=True))
        (following / "manifest.json").write_text("next")
        remove(path)

    with ExitStack() as resources:
        monkeypatch.setattr(publication, "_remove", next_process)
        with published(output, overwrite=True) as folder:
            (folder / "manifest.json").write_text("new")
        assert (output / "manifest.json").read_text() == "new"
        assert names(tmp_path) == [".bundle.new", "bundle"]
    assert (output / "manifest.json").read_text() == "next"
    assert names(tmp_path) == ["bundle"]


def test_what_a_kill_had_set_aside_comes_back(tmp_path: Path) -> None:
    (tmp_path / ".bundle.old").mkdir()
    (tmp_path / ".bundle.old" / "manifest.json").write_text("{}")
    with pytest.raises(ConfigError, match="already there"), published(tmp_path / "bundle", overwrite=False):
        pytest.fail("must not get here")
    assert names(tmp_path) == ["bundle"]
    assert names(tmp_path / "bundle") == ["manifest.json"]


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow above 64 KiB: a full disk, as far as a program can tell."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGXFSZ, handler)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("small_files")
def test_numpy_s_way_to_say_that_the_disk_is_full(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"cannot write .*requested and \d+ written; nothing of it is left"),
        published(tmp_path / "bundle", overwrite=False) as folder,
    ):
        np.save(folder / "embedding.npy", np.zeros(1 << 16))
    assert names(tmp_path) == []


# Of a packed bundle the parts fit, and the whole does not.
@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize(("output", "size"), [("bundle", 1 << 17), ("bundle.jetvla", 1 << 15)])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, output: str, size: int) -> None:
    def write() -> None:
        with published(tmp_path / output, overwrite=False) as folder:
            for number in range(3):
                (folder / f"{number}").write_bytes(bytes(size))

    with pytest.raises(ConfigError, match=r"cannot write .*File too large; nothing of it is left"):
        write()
    assert names(tmp_path) == []
