"""The policy as a process of its own, with a guard's socket played by the test."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import load_config
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.link.protocol import ChunkMessage, Health, Hello, Idle, IdleReason
from jetvla.runtime.link.server import LinkLost
from jetvla.services.policy_process import PolicyProcess

from ..faults.broken.sitecustomize import HANGS

PATIENCE_S = 60.0
# What the fixtures of conftest.py give: a started policy daemon, and a guard's socket that keeps what comes.
Daemon = Any
FakeGuard = Any
Configure = Callable[..., Path]


def pictures(folder: Path, count: int = 30) -> Path:
    partial = folder.with_name("partial")
    partial.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (48, 64, 3), np.uint8)).save(partial / f"{number:03d}.png")
    return partial.rename(folder)


def test_it_says_hello_and_then_answers_every_frame(
    place: Path, configured: Configure, guard: FakeGuard, start: Callable[[Path], Daemon]
) -> None:
    pictures(place / "pictures")
    daemon = start(configured())
    guard.wait_for(lambda: len(guard.of(ChunkMessage)) >= 10)
    hello = guard.events[0]
    assert isinstance(hello, Hello)
    assert hello.golden_passed
    assert hello.bundle == Bundle.open(place / "bundle", None).digest
    chunks = guard.of(ChunkMessage)
    assert all(np.isfinite(c.actions).all() and c.actions.shape == (1, 7) for c in chunks)
    # Frames are 20 ms apart on the monotonic clock, whichever of them are answered.
    offsets = {(c.t0_ns - chunks[0].t0_ns) % 20_000_000 for c in chunks}
    assert offsets == {0}
    assert {c.dt_ns for c in chunks} == {100_000_000}
    assert guard.of(Health)[-1].stages.step > 0
    assert daemon.end() == 0
    assert "golden self-test passed" in daemon.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_even_without_a_guard(
    place: Path, configured: Configure, start: Callable[[Path], Daemon], number: int
) -> None:
    pictures(place / "pictures")
    daemon = start(configured())
    give_up = time.monotonic() + PATIENCE_S
    while "cannot connect to the guard" not in daemon.log.read_text():
        assert time.monotonic() < give_up
        time.sleep(0.02)
    assert daemon.end(number) == 0
    assert "Traceback" not in daemon.log.read_text()


def test_a_signal_ends_it_while_it_starts(
    place: Path, configured: Configure, start: Callable[[Path], Daemon], breaks: Path
) -> None:
    breaks.write_text("hangs")
    pictures(place / "pictures")
    daemon, give_up = start(configured()), time.monotonic() + PATIENCE_S
    while not breaks.with_name(HANGS).exists():
        assert time.monotonic() < give_up, daemon.log.read_text()
        time.sleep(0.01)
    assert daemon.end() == 0, daemon.log.read_text()


def test_a_camera_that_comes_late_and_an_instruction_that_is_missing_are_waited_for(
    place: Path, configured: Configure, guard: FakeGuard, start: Callable[[Path], Daemon]
) -> None:
    daemon = start(configured())
    guard.wait_for(lambda: len(guard.of(Idle)) >= 5)
    assert {i.reason for i in guard.of(Idle)} == {IdleReason.NO_CAMERA}
    assert "pictures is not a folder" in guard.of(Idle)[0].text
    assert not guard.of(ChunkMessage)
    pictures(place / "pictures")
    guard.wait_for(lambda: guard.of(ChunkMessage))
    assert daemon.end() == 0


def test_without_an_instruction_it_idles(
    place: Path, configured: Configure, guard: FakeGuard, start: Callable[[Path], Daemon]
) -> None:
    pictures(place / "pictures")
    start(configured(instruction={}))
    guard.wait_for(lambda: len(guard.of(Idle)) >= 5)
    assert {i.reason for i in guard.of(Idle)} == {IdleReason.NO_INSTRUCTION}
    assert not guard.of(ChunkMessage)


def test_it_serves_the_next_guard_after_the_first_is_gone(
    place: Path,
    configured: Configure,
    guard: FakeGuard,
    make_guard: Callable[[], FakeGuard],
    start: Callable[[Path], Daemon],
) -> None:
    pictures(place / "pictures")
    start(configured())
    guard.wait_for(lambda: guard.of(ChunkMessage))
    first = guard.of(ChunkMessage)[-1].seq
    guard.close()
    after = make_guard()
    after.wait_for(lambda: after.of(ChunkMessage))
    assert isinstance(after.events[0], Hello)
    assert after.of(ChunkMessage)[0].seq > first


def test_a_killed_policy_is_seen_at_once(
    place: Path, configured: Configure, guard: FakeGuard, start: Callable[[Path], Daemon]
) -> None:
    pictures(place / "pictures")
    daemon = start(configured())
    guard.wait_for(lambda: guard.of(ChunkMessage))
    daemon.end(signal.SIGKILL)
    guard.wait_for(lambda: guard.of(LinkLost))


def test_an_engine_that_fails_its_self_test_says_so_and_is_not_hidden(
    place: Path, configured: Configure, guard: FakeGuard, start: Callable[[Path], Daemon]
) -> None:
    pictures(place / "pictures")
    daemon = start(configured(policy={"backend": "null", "precision": "fp32"}))
    guard.wait_for(lambda: guard.events)
    assert not guard.of(Hello)[0].golden_passed
    assert guard.of(Hello)[0].golden_error > 0
    assert "FAILED; the guard will not arm" in daemon.log.read_text()


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"policy": {"precision": "fp16"}}, "no step graph in fp16, only in fp32, int8-fp32"),
        (
            {"cameras": {"top": {"kind": "frames", "path": "pictures"}}},
            "the bundle has front, and the configuration top",
        ),
        ({"bundle": "gone"}, "gone is not a bundle"),
        ({"policy": {"speed": 1}}, "unknown key"),
    ],
)
def test_what_a_user_can_fix_is_one_line_and_status_1(
    place: Path, configured: Configure, start: Callable[[Path], Daemon], sections: dict[str, Any], says: str
) -> None:
    daemon = start(configured(**sections))
    assert daemon.process.wait(PATIENCE_S) == 1
    assert says in daemon.log.read_text()
    assert "Traceback" not in daemon.log.read_text()


def test_an_altered_bundle_does_not_run(place: Path, configured: Configure, start: Callable[[Path], Daemon]) -> None:
    graph = place / "bundle" / "step.int8-fp32.onnx"
    data = bytearray(graph.read_bytes())
    data[1000] ^= 1
    graph.write_bytes(data)
    daemon = start(configured())
    assert daemon.process.wait(PATIENCE_S) == 1
    assert "step.int8-fp32.onnx is altered" in daemon.log.read_text()


def test_spoken_sentences_are_heard_by_the_loop(place: Path, configured: Configure) -> None:
    bundle = Bundle.open(place / "bundle", None)
    process = PolicyProcess(load_config(configured(instruction={})), bundle)
    assert process.instruction() is None
    process._spoken.put("move to  the green block")
    process._spoken.put("x" * 300)
    heard = process.instruction()
    assert heard is not None
    assert heard.text == "move to the green block"
    process._spoken.put("stop it")
    assert process.instruction() is None


def test_a_policy_that_needs_a_state_is_refused_without_its_topic(place: Path, configured: Configure) -> None:
    bundle = Bundle.open(place / "bundle", None)
    manifest = bundle.manifest.model_copy(update={"state": ("elbow", "wrist")})
    with pytest.raises(ConfigError, match="needs the joint states elbow, wrist; name their topic"):
        PolicyProcess(load_config(configured()), dataclasses.replace(bundle, manifest=manifest))
