"""The builder's commands and whatever a user gives them that is wrong: one line says so, and nothing is left behind.

What one file may hold is tested where it is read; here is what reaches the user.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from onnx import ModelProto
from safetensors.torch import load_file, save_file

from jetvla.calibration import action_draft, coverage
from jetvla.calibration.calibration_file import ActivationRange, CalibrationFile, DataSource, SampleId
from jetvla.calibration.episodes import write_episode
from jetvla.calibration.episodes.hdf5 import Hdf5Episode
from jetvla.engines import build as build_module
from jetvla.engines import publication, runner, sources
from jetvla.engines.checkpoint import save_checkpoint
from jetvla.engines.export import export_graph
from jetvla.engines.families.end_to_end import family
from jetvla.engines.families.end_to_end.settings import TINY
from jetvla.engines.publication import published
from jetvla.engines.sources import Declared, random_policy
from jetvla.services.cli import main

STEPS, ACTIONS = 3, 7
FULL_BYTES = 2048
INFO = {
    "codebase_version": "v2.1",
    "fps": 10,
    "total_episodes": 1,
    "features": {"action": {"dtype": "float32", "shape": [7]}},
    "data_path": "data/{episode_index}.parquet",
}
LEROBOT = {
    "type": "act",
    "input_features": {
        "observation.images.front": {"type": "VISUAL", "shape": [3, 64, 64]},
        "observation.state": {"type": "STATE", "shape": [2]},
    },
    "output_features": {"action": {"type": "ACTION", "shape": [ACTIONS]}},
}


def record(folder: Path, text: str = "pick up the red block", width: int = ACTIONS, episodes: int = 3) -> Path:
    """Recordings that no other call makes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(folder)) + width)
    for number in range(episodes):
        images = rng.integers(0, 256, (STEPS, 32, 32, 3), np.uint8)
        actions = rng.normal(size=(STEPS, width)).astype(np.float32)
        write_episode(folder / f"{number}.hdf5", images, text, actions)
    return folder


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``checkpoint``, ``weights.pt``, ``action.yaml`` and ``episodes``, with which nothing is wrong. Read-only."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    policy = random_policy("tiny", Declared())
    save_checkpoint(policy, folder / "checkpoint")
    torch.save(policy.network.state_dict(), folder / "weights.pt")
    (folder / "action.yaml").write_text(yaml.safe_dump(policy.settings.action.model_dump(mode="json")))
    record(folder / "episodes")
    return folder


@pytest.fixture
def place(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, a copy of ``whole`` to be spoilt, with an empty folder ``out``."""
    place = Path(shutil.copytree(whole, tmp_path / "place"))
    (place / "out").mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def refused(place: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail with one message and leave nothing in ``out``; returns the message."""

    def run(command: str, *more: str) -> str:
        before = sorted(place.rglob("*"))
        assert main([*command.split(), *more]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"jetvla {command.split()[0]}: ")
        assert "\njetvla " not in said
        assert sorted(place.rglob("*")) == before
        return said

    return run


BUILD = "build checkpoint --episodes episodes -o out/bundle "
RANGES = "calibrate ranges checkpoint --episodes episodes -o out/ranges.json "
INSPECT = "calibrate inspect episodes "
BARE = (
    "build weights.pt --episodes episodes -o out/bundle --action-spec action.yaml --resize opencv_area --fit stretch "
    "--rate 10 --attention course --tokenizer checkpoint/tokenizer.json"
)
ACT = (
    "build lerobot --episodes episodes -o out/bundle --action-spec action.yaml --resize opencv_area --fit stretch "
    "--rate 10 --state-names a,b"
)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("out/pwned",)


def spoil_weights(place: Path, number: float) -> None:
    path = place / "checkpoint/model.safetensors"
    weights = load_file(path)
    weights["action_head.0.bias"][3] = number
    save_file(weights, path)


def lerobot(place: Path, **config: Any) -> None:
    (place / "lerobot").mkdir()
    (place / "lerobot/config.json").write_text(json.dumps({**LEROBOT, **config}))
    shutil.copy(place / "checkpoint/model.safetensors", place / "lerobot")


def cut_lerobot(place: Path) -> None:
    lerobot(place)
    cut(place / "lerobot/model.safetensors")


def settle(place: Path, file: str, **keys: Any) -> None:
    path = place / "checkpoint" / file
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}))


CHECKPOINTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "truncated": (BUILD, lambda place: cut(place / "checkpoint/model.safetensors"), "model.safetensors is damaged"),
    "truncated .pt": (BARE, lambda place: cut(place / "weights.pt"), "weights.pt is damaged, or no file of torch"),
    "truncated LeRobot": (ACT, cut_lerobot, "lerobot/model.safetensors is damaged"),
    "code": (
        BARE,
        lambda place: torch.save({"weight": Code()}, place / "weights.pt"),
        "weights.pt is unsafe to load: it holds posix.mkdir, which is code and no tensor; nothing of it was run",
    ),
    "NaN": (BUILD, lambda place: spoil_weights(place, float("nan")), "not finite: action_head.0.bias"),
    "infinite": (BUILD, lambda place: spoil_weights(place, float("inf")), "not finite: action_head.0.bias"),
    "NaN in the statistics": (
        BUILD,
        lambda place: (place / "checkpoint/normalization.json").write_text(
            json.dumps({"mean": [float("nan")] * ACTIONS, "std": [1] * ACTIONS})
        ),
        "normalization.json: mean.0: Input should be a finite number",
    ),
    "action spec of another robot": (
        BUILD + "--action-spec other.yaml",
        lambda place: (place / "other.yaml").write_text(
            "dimensions: [{name: grip, quantity: gripper, unit: '1', semantics: absolute}]"
        ),
        "mean and std must have 1 numbers, not 7: the action spec describes grip",
    ),
    "action spec of another LeRobot robot": (
        ACT,
        lambda place: lerobot(place, output_features={"action": {"type": "ACTION", "shape": [2]}}),
        "--action-spec describes 7 numbers, and the action has 2",
    ),
    "no text": (BUILD, lambda place: (place / "checkpoint/config.yaml").write_bytes(b"\xff\x00"), "is not YAML"),
    "a folder for a file": (
        BUILD,
        lambda place: ((place / "checkpoint/config.yaml").unlink(), (place / "checkpoint/config.yaml").mkdir()),
        "cannot read checkpoint/config.yaml: Is a directory",
    ),
    "a file for a folder": (BUILD.replace("checkpoint", "checkpoint/x"), lambda place: None, "it is missing"),
    "recordings for a checkpoint": (
        BUILD.replace("checkpoint", "episodes"),
        lambda place: None,
        "episodes is no checkpoint: it has neither config.yaml nor LeRobot's config.json",
    ),
    "an ONNX graph": (
        "build graph.onnx -o out/bundle",
        lambda place: (place / "graph.onnx").write_bytes(b"\x08\x0a"),
        "graph.onnx is an ONNX graph, and a checkpoint is needed",
    ),
    "a packed bundle": (
        "build policy.jetvla -o out/bundle",
        lambda place: (place / "policy.jetvla").touch(),
        "policy.jetvla is a bundle already, and a checkpoint is needed",
    ),
    "a bundle": (
        "build policy -o out/bundle",
        lambda place: ((place / "policy").mkdir(), (place / "policy/manifest.json").touch()),
        "policy is a bundle already, and a checkpoint is needed",
    ),
    "a picture": (
        RANGES.replace("checkpoint", "photo.png"),
        lambda place: (place / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n"),
        "photo.png is no file of torch.save, and a checkpoint is needed",
    ),
    "fewer tokens than words": (
        RANGES,
        lambda place: settle(place, "config.yaml", text={"max_tokens": 4}),
        "has 7 tokens and the policy reads 4: 3 would be cut",
    ),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_bad_checkpoints(place: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    # The base size takes seconds to make.
    monkeypatch.setitem(sources.PRESETS, "base", TINY)
    monkeypatch.setitem(sources._IMAGE_SIZE, "base", 32)
    monkeypatch.setitem(sources._MAX_TOKENS, "base", 12)
    command, spoil, message = CHECKPOINTS[case]
    spoil(place)
    assert message in refused(command)


def film(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.with_suffix(".txt").write_text("go")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.height = stream.width = 32
        stream.pix_fmt = "yuv420p"
        for number in range(9):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * number, np.uint8), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def cut_film(place: Path) -> None:
    film(place / "films/a.mp4")
    cut(place / "films/a.mp4")


def unequal(place: Path) -> None:
    with h5py.File(place / "episodes/1.hdf5", "r+") as file:
        del file["actions"]
        file["actions"] = np.zeros((STEPS + 6, ACTIONS), np.float32)


def unlike(place: Path) -> None:
    """The first and the last of five."""
    record(place / "episodes", episodes=5)
    for name in ("0", "4"):
        with h5py.File(place / f"episodes/{name}.hdf5", "r+") as file:
            actions = file["actions"][:]
            del file["actions"]
            file["actions"] = actions[:, :6]


def stepless(place: Path) -> None:
    with h5py.File(place / "episodes/1.hdf5", "r+") as file:
        del file["observations/images"]
        file["observations/images"] = np.zeros((0, 32, 32, 3), np.uint8)


def listed_otherwise(place: Path) -> None:
    (place / "lerobot-set/meta").mkdir(parents=True)
    (place / "lerobot-set/data").mkdir()
    (place / "lerobot-set/meta/info.json").write_text(json.dumps(INFO))
    (place / "lerobot-set/meta/episodes.jsonl").write_text('{"episode_index": 0, "length": 5}')
    (place / "lerobot-set/meta/tasks.jsonl").write_text('{"task_index": 0, "task": "go"}')
    rows = {"action": [[0.0] * ACTIONS] * 4, "episode_index": [0] * 4, "task_index": [0] * 4}
    pq.write_table(pa.table(rows), place / "lerobot-set/data/0.parquet")


def copied(place: Path) -> None:
    shutil.copytree(place / "episodes", place / "judges")
    (place / "judges/0.hdf5").rename(place / "judges/renamed.hdf5")


TWIST = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


def spec_in_another_order(place: Path) -> None:
    spec = yaml.safe_load((place / "action.yaml").read_text())
    spec["dimensions"][0:2] = reversed(spec["dimensions"][0:2])
    (place / "action.yaml").write_text(yaml.safe_dump(spec))


@pytest.mark.parametrize(
    ("command", "where"),
    [
        (ACT, r"action.yaml:\d+: dimensions.0 is 'y'"),
        (BARE, r"action.yaml:\d+: dimensions.0 is 'y'"),
        (BUILD, r"checkpoint/config.yaml:\d+: action.dimensions.0 is 'x'"),
    ],
)
def test_names_in_another_order_than_recorded(
    place: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, command: str, where: str
) -> None:
    recorded = ("y", "x", *TWIST[2:]) if command == BUILD else TWIST
    monkeypatch.setattr(Hdf5Episode, "action_names", recorded)
    lerobot(place)
    spec_in_another_order(place)
    assert re.search(f"{where}, but number 0 of the recorded actions is '{recorded[0]}'", refused(command))


def test_state_names_in_another_order_than_recorded(
    place: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hdf5Episode, "state_names", ("b", "a"))
    lerobot(place)
    assert "--state-names: state 0 is 'a', but number 0 of the recorded state is 'b'" in refused(ACT)


DATA: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "nothing": ("nothing", lambda place: (place / "nothing").mkdir(), "nothing has no episodes"),
    "nowhere": ("nowhere", lambda place: None, "nowhere does not exist"),
    "half a video": ("films", cut_film, "films/a.mp4 is truncated"),
    "mismatched lengths": ("episodes", unequal, "1.hdf5: 'actions' has 9 steps but 'observations/images' has 3"),
    "mismatched widths": (
        "episodes",
        unlike,
        "repaired or removed:\n"
        "episodes/0.hdf5: 'actions' has 6 numbers a step, and other episodes 7\n"
        "episodes/4.hdf5: 'actions' has 6 numbers a step, and other episodes 7\n",
    ),
    "mismatched LeRobot": ("lerobot-set", listed_otherwise, "has 4 rows of episode_000000, the metadata says 5"),
    "no steps": ("episodes", stepless, "1.hdf5: 'observations/images' has no step"),
}


@pytest.mark.parametrize("case", DATA)
def test_bad_recordings_are_refused_by_every_command(place: Path, refused: Callable[..., str], case: str) -> None:
    data, spoil, message = DATA[case]
    spoil(place)
    for command in (BUILD, RANGES, "calibrate inspect DATA --png out/picture.png "):
        assert message in refused(command.replace("episodes episodes", "episodes DATA").replace("DATA", data))


RECORDINGS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "another robot's": ("", lambda place: record(place / "episodes", width=6), "6 numbers, and the action spec has 7"),
    "a long sentence": (
        "",
        lambda place: record(place / "episodes", "pick up the red block " * 3),
        "has 17 tokens and the policy reads 12: 5 would be cut",
    ),
    "one alone": ("", lambda place: [(place / f"episodes/{n}.hdf5").unlink() for n in (1, 2)], "at least two are"),
    "judges that calibrate": ("--held-out judges", copied, "judge by: 0 (there called renamed), 1, 2"),
    "judges of another robot": (
        "--held-out judges",
        lambda place: record(place / "judges", width=5),
        "0: actions have 5 numbers",
    ),
}


@pytest.mark.parametrize("case", RECORDINGS)
def test_recordings_that_do_not_fit_the_policy(place: Path, refused: Callable[..., str], case: str) -> None:
    options, spoil, message = RECORDINGS[case]
    spoil(place)
    assert message in refused(BUILD + options)
    assert message in refused(RANGES + options)


OPTIONS = {
    "--samples 0": "--samples 0: give at least 1",
    "--seed -1": "--seed -1: give at least 0",
    "--rate 0": "--rate 0: give the actions per second",
    "--rate nan": "--rate nan: give the actions per second",
    "--version 0": "--version 0: a bundle's versions begin at 1",
    "--tolerance much": "--tolerance 'much' is no number",
    "--tolerance 1e999": "--tolerance '1e999' is no number",
    "--tokenizer action.yaml": "says everything that --tokenizer would",
    "--key action.yaml": "action.yaml is not an unencrypted PEM private key",
    "--calibration action.yaml": "action.yaml: calibration: Invalid JSON",
    "--calibration checkpoint": "checkpoint cannot be read (Is a directory)",
    "--calibration x --precision fp32": "--calibration is of no use with --precision fp32",
    "--action-spec weights.pt": "weights.pt is not YAML",
    "--overwrite -o checkpoint": "checkpoint is no bundle, and is not replaced by one",
    "--overwrite -o .": ". is no bundle, and is not replaced by one",
    "-o episodes": "episodes is already there; add --overwrite",
    "-o nowhere/bundle": "nowhere is not a folder; make it first",
    "-o action.yaml/bundle": "action.yaml is not a folder; make it first",
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.usefixtures("quick_export")
def test_bad_options_are_refused_before_the_work(refused: Callable[..., str], options: str) -> None:
    assert OPTIONS[options] in refused(BUILD + options)


@pytest.mark.parametrize("output", ["nowhere/c.json", "checkpoint", "action.yaml", "action.yaml/c.json"])
def test_a_calibration_is_not_made_for_a_place_that_cannot_take_it(refused: Callable[..., str], output: str) -> None:
    assert output in refused(RANGES + "-o", output)


def calibration(path: Path, episodes: tuple[str, ...], graph: str = "a1" * 32) -> None:
    CalibrationFile(
        policy="another",
        graph_sha256=graph,
        data=DataSource(name="episodes", sha256="b2" * 32, episodes=episodes),
        selection="covering",
        seed=5,
        samples=(SampleId(episode=episodes[0], step=0),),
        method="max",
        bins=2048,
        activations={"x": ActivationRange(limit=1, largest=2, count=3)},
    ).write(path)


@pytest.mark.usefixtures("quick_export")
def test_a_calibration_of_another_policy_is_refused(place: Path, refused: Callable[..., str]) -> None:
    calibration(place / "c.json", ("elsewhere",))
    assert "is of step graph a1a1a1a1a1a1 (policy another), but the one being" in refused(BUILD, "--calibration=c.json")


def test_what_calibrated_does_not_judge(place: Path, refused: Callable[..., str]) -> None:
    calibration(place / "c.json", ("0", "1", "2"))
    message = refused(BUILD + "--calibration c.json")
    assert "which would also judge: give the --episodes (episodes) and --seed (5) that it was made with" in message


_exports: dict[tuple[str, tuple[str, ...]], ModelProto] = {}


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports each graph once; it takes seconds."""

    def export(source: Any, block: Any = lambda module: "") -> ModelProto:
        key = (source.name, tuple(source.inputs))
        if key not in _exports:
            _exports[key] = export_graph(source, block)
        return _exports[key]

    monkeypatch.setattr(build_module, "export_graph", export)


@pytest.fixture
def fills_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any, str], None]]:
    """Lets the disk be full from the first call of a function on: no file grows above FULL_BYTES any more."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(owner: Any, name: str) -> None:
        work = getattr(owner, name)

        def full(*arguments: Any, **keywords: Any) -> Any:
            resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_BYTES, limits[1]))
            return work(*arguments, **keywords)

        monkeypatch.setattr(owner, name, full)

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
    ("owner", "writes", "output"),
    [
        (build_module, "write_graph", "out/bundle"),
        (np, "save", "out/bundle"),
        (np, "savez_compressed", "out/bundle"),
        (build_module, "_write_manifest", "out/bundle"),
        (build_module, "write_graph", "out/bundle.jetvla"),
        (publication, "pack", "out/bundle.jetvla"),
    ],
)
@pytest.mark.usefixtures("quick_export")
def test_a_full_disk_is_said_and_leaves_nothing(
    refused: Callable[..., str],
    fills_up: Callable[[Any, str], None],
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    writes: str,
    output: str,
) -> None:
    # So that there is a word embedding to be written.
    monkeypatch.setattr(family, "EMBEDDING_IN_GRAPH", 0)
    fills_up(owner, writes)
    said = refused(BUILD.replace("out/bundle", output) + "--precision fp32")
    assert f"cannot write {output}: " in said
    assert "nothing of it is left: make room" in said


@pytest.mark.usefixtures("quick_export")
def test_a_full_folder_for_temporary_files_is_no_verdict_on_int8(
    refused: Callable[..., str], fills_up: Callable[[Any, str], None]
) -> None:
    fills_up(runner, "temporary_folder")
    assert "cannot write temporary files to /tmp" in refused(BUILD)


@pytest.mark.usefixtures("quick_export")
def test_the_second_of_two_builds_gives_way(place: Path, refused: Callable[..., str]) -> None:
    with published(place / "out/bundle", overwrite=False) as first:
        (first / "step.fp32.onnx").write_text("half")
        assert "another process is writing out/bundle" in refused(BUILD)
        assert (first / "step.fp32.onnx").read_text() == "half"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_build_that_is_stopped_leaves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    def stop(*ignored: Any) -> None:
        assert [path.name for path in (place / "out").iterdir()] == [".bundle.new"]
        os.kill(os.getpid(), number)

    monkeypatch.setattr(build_module, "export_graph", stop)
    former = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)]
    try:
        code = main(BUILD.split())
    except SystemExit as end:
        code = end.code
    assert code == 128 + number
    assert list((place / "out").iterdir()) == []
    assert capfd.readouterr().err in (f"stopped by {number.name}\n", "jetvla build: interrupted\n")
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == former


@pytest.mark.usefixtures("quick_export")
def test_names_with_brackets_are_names(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "out[").mkdir()
    assert main([*BUILD.split(), "--precision", "fp32", "-o", "out[/red]"]) == 0
    assert "bundle: out[/red] (" in capsys.readouterr().out


COMPILE = "compile bundle --unsigned --rounds 1 --threads 1 --engines "


@pytest.fixture
def bundle(place: Path, tiny_bundle: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, place / "bundle"))


def test_a_bundle_that_was_altered_is_not_compiled(bundle: Path, refused: Callable[..., str]) -> None:
    graph = bundle / "step.fp32.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    assert "step.fp32.onnx is altered" in refused(COMPILE + "out/engines")
    assert "step.fp32.onnx is altered" in refused("inspect bundle --html out/receipt.html")


@pytest.mark.usefixtures("bundle")
def test_engines_need_a_folder(refused: Callable[..., str]) -> None:
    assert "no engine can be written to action.yaml" in refused(COMPILE + "action.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--png out/p.png", "out/p.png cannot be written (File too large)"),
        ("--png out", "out cannot be written: it is a folder"),
        ("--write-action-spec out/a.yaml", "out/a.yaml cannot be written (File too large)"),
    ],
)
def test_a_picture_and_a_draft_need_room(
    refused: Callable[..., str],
    fills_up: Callable[[Any, str], None],
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    message: str,
) -> None:
    monkeypatch.setattr(action_draft, "draft", lambda *facts: "#" * 2 * FULL_BYTES)
    fills_up(coverage, "measure")
    meaning = "--quantity joint --unit rad --semantics absolute " if "spec" in options else ""
    assert message in refused(INSPECT + meaning + options)
