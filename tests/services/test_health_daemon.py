"""The health service beside the real guard and policy, on a store, without ROS 2 and systemd."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image

from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.config import load_config
from jetvla.runtime.keys import load_trusted
from jetvla.runtime.telemetry.status import Status, write_status
from jetvla.services import health_daemon
from jetvla.services.service_manager import Notifier
from jetvla.services.store.changes import changing
from jetvla.services.store.hold import in_use
from jetvla.services.store.install import Terms, install
from jetvla.services.store.store import Store
from jetvla.services.store.units import Unmanaged
from jetvla.services.store.watch import fresh_status
from jetvla.services.supervisor import Daemons
from jetvla.services.termination import EndRequest

from .bundles import Maker

# Only for a test that would otherwise hang; nothing here measures speed.
PATIENCE_S = 120.0
# Times what a bundle asks for that is too much.
WILD = 100


class RealUnits:
    """Guard and policy as child processes, in the part of systemd."""

    def __init__(self, config: Path, log: Path) -> None:
        self._config, self._log = config, log.open("wb")
        self._daemons: Daemons | None = None
        self._guard: Daemons | None = None

    def stop(self) -> None:
        for daemons in (self._guard, self._daemons):
            if daemons is not None:
                daemons.stop()

    def restart_guard(self) -> None:
        """As systemd does where it alone has ended."""
        assert self._daemons is not None
        guard = self._daemons.processes["guard"]
        guard.terminate()
        guard.wait(PATIENCE_S)
        self._guard = Daemons(self._config, ("guard",), self._log)
        self._guard.start()

    def start(self) -> None:
        self._daemons = Daemons(self._config, log=self._log)
        self._daemons.start()

    def restarts(self) -> int:
        return 0

    def given_up(self) -> bool:
        return False

    def stopped(self) -> bool:
        return False

    def close(self) -> None:
        self.stop()
        self._log.close()


@pytest.fixture(autouse=True)
def patient_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service may hold its lock while a busy machine lets it stand."""
    monkeypatch.setattr("jetvla.services.store.store._LOCK_PATIENCE_S", PATIENCE_S)


@pytest.fixture
def config(make: Maker, tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    generator = np.random.default_rng(0)
    for number in range(8):
        pixels = generator.integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(pictures / f"{number}.png")
    settings: dict[str, Any] = {
        "bundle": "current",
        "store": "store",
        "trusted": "keys",
        "run_dir": "run",
        "cameras": {"front": {"kind": "frames", "path": "pictures", "fps": 20, "loop": True}},
        "instruction": {"text": "pick up the red block", "ttl_s": None},
        "policy": {"threads": 1, "engines": "engines"},
        # This machine is busy, and the weights are random: neither is what is tried here.
        "trial": {"seconds": 0.5, "missed": 100000, "clipped": 1.0, "restarts": 100},
        "guard": {
            "outputs": [{"kind": "log", "path": "commands.jsonl"}],
            "limits": {"excess_count": 10**6, "excess_window": 10**6, "period_ratio": 30},
        },
    }
    (tmp_path / "jetvla.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path / "jetvla.yaml"


@pytest.fixture
def units(config: Path, tmp_path: Path) -> Iterator[RealUnits]:
    found = RealUnits(config, tmp_path / "daemons.log")
    yield found
    found.close()


@pytest.fixture
def service(config: Path, units: RealUnits) -> Iterator[threading.Thread]:
    asked = EndRequest()
    arguments = (load_config(config), asked, lambda read: units)
    thread = threading.Thread(target=health_daemon.keep_watch, args=arguments)
    thread.start()
    yield thread
    asked.set()
    thread.join()


def wait_for(what: Callable[[], object]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.05)


def put(store: Store, path: Path, make: Maker) -> str:
    """Without the self-test at the door, so that the one at the policy's start has something to find."""
    return install(store, path, Terms(load_trusted(make.keys), None), print)


def test_a_good_bundle_is_committed_and_a_bad_one_rolled_back(
    make: Maker, config: Path, units: RealUnits, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store, clock, path = Store(tmp_path / "store"), MonotonicClock(), load_config(config).status

    def status() -> Status | None:
        return fresh_status(path, clock)

    def runs(digest: str) -> bool:
        seen = status()
        return seen is not None and seen.bundle == digest and seen.connections > 0

    good = put(store, make(1), make)
    units.start()
    request.getfixturevalue("service")
    wait_for(lambda: store.history.verdict(good) == "committed")
    assert in_use(store.folder(good))
    wait_for(lambda: (seen := status()) and seen.golden is True and seen.followed >= 50)

    bad = put(store, make(2, wrong=True), make)
    wait_for(lambda: store.history.verdict(bad) == "failed")
    wait_for(lambda: runs(good))
    assert (store.current, store.trial) == (good, None)
    assert "the golden self-test failed" in next(e.detail for e in store.history.entries() if e.what == "failed")
    assert store.history.highest() == 1


def commit_first(store: Store, make: Maker) -> str:
    """What is gone back to; whether it is any good is not asked."""
    first = put(store, make(1), make)
    with changing(store) as changes:
        changes.commit(first)
    return first


def change(config: Path, section: str, **values: object) -> None:
    settings = yaml.safe_load(config.read_text())
    settings[section] |= values
    config.write_text(yaml.safe_dump(settings))


def failure_of(store: Store, digest: str) -> str:
    wait_for(lambda: store.history.verdict(digest) == "failed")
    return next(entry.detail for entry in store.history.entries() if entry.what == "failed")


def test_a_bundle_that_asks_for_too_much_is_rolled_back(
    make: Maker, config: Path, units: RealUnits, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = Store(tmp_path / "store")
    change(config, "trial", clipped=0.5)
    change(config, "policy", precision="fp32")
    first = commit_first(store, make)
    wild = put(store, wilder(make(2), make), make)
    units.start()
    request.getfixturevalue("service")
    assert "clipped in" in failure_of(store, wild)
    wait_for(lambda: store.current == first)


def test_a_bundle_that_is_too_slow_is_rolled_back(
    make: Maker,
    config: Path,
    units: RealUnits,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    breaks: Path,
) -> None:
    store, clock, path = Store(tmp_path / "store"), MonotonicClock(), load_config(config).status
    change(config, "trial", missed=2, seconds=10**4)
    first = commit_first(store, make)
    slow = put(store, make(2), make)
    units.start()
    wait_for(lambda: (seen := fresh_status(path, clock)) and seen.policy_bundle == slow and seen.chunks > 10)
    breaks.write_text("slow")
    request.getfixturevalue("service")
    assert "missed deadlines, and 2 are allowed" in failure_of(store, slow)
    wait_for(lambda: store.current == first)


def wilder(folder: Path, make: Maker) -> Path:
    """Sealed anew with a graph, and golden samples, that ask for a hundred times as much."""
    graph = folder / "step.fp32.onnx"
    model = onnx.load(graph)
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["calm" if name == output.name else name for name in node.output]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(WILD), "wildly"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["calm", "wildly"], [output.name]))
    onnx.save(model, graph)
    with np.load(folder / "golden.npz") as file:
        arrays = dict(file)
    np.savez(folder / "golden.npz", **{**arrays, "actions": arrays["actions"] * np.float32(WILD)})
    make.seal(folder, version=2)
    return folder


def test_a_bundle_that_the_guard_alone_took_up_is_run_before_it_is_kept(
    make: Maker, config: Path, units: RealUnits, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store, clock, path = Store(tmp_path / "store"), MonotonicClock(), load_config(config).status

    def run_by(guard: str, policy: str) -> Status | None:
        seen = fresh_status(path, clock)
        return seen if seen is not None and (seen.bundle, seen.policy_bundle) == (guard, policy) else None

    first = put(store, make(1), make)
    units.start()
    wait_for(lambda: run_by(first, first))
    with changing(store) as changes:
        changes.commit(first)
    second = put(store, make(2), make)
    units.restart_guard()
    wait_for(lambda: (seen := run_by(second, first)) and seen.chunks > 100)
    request.getfixturevalue("service")
    wait_for(lambda: store.history.verdict(second) == "committed")
    wait_for(lambda: run_by(second, second))


def test_the_process_ends_when_it_is_asked_to(config: Path, make: Maker, tmp_path: Path) -> None:
    if Path("/run/systemd/system").is_dir():
        pytest.skip("would ask this machine's own systemd about the units of jetvla")
    put(Store(tmp_path / "store"), make(1), make)
    command = [sys.executable, "-m", "jetvla.services.health_daemon", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "is on trial: 0.5 s in time commit it" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    process.stderr.close()


def test_a_bundle_that_is_not_the_stores_is_not_watched(
    config: Path, make: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    config.write_text(config.read_text().replace("bundle: current", "bundle: elsewhere"))
    asked = EndRequest()
    asked.set()
    with caplog.at_level(logging.INFO):
        health_daemon.keep_watch(load_config(config), asked)
    assert "there is nothing to watch" in caplog.text


class Listener:
    """Notes what a service manager is told, and asks for the end once it was told so often."""

    def __init__(self, asked: EndRequest, messages: int) -> None:
        self.told: list[str] = []
        self._asked, self._messages = asked, messages

    def notify(self, message: str) -> None:
        self.told += [line for line in message.splitlines() if not line.startswith("WATCHDOG")]
        if sum(line.startswith("STATUS") for line in self.told) == self._messages:
            self._asked.set()


def test_the_manager_is_told_how_far_a_trial_is(
    config: Path, make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_daemon, "LOOK_EVERY_S", 0.001)
    digest, clock = put(Store(tmp_path / "store"), make(7), make), MonotonicClock()
    loaded = load_config(config)
    loaded.run_dir.mkdir()

    report = Status(clock.now_ns(), 7, "DISARMED", "", digest, None, "", "", 0, 0, {}, {}, [], 23, policy_bundle=digest)
    write_status(report, loaded.status)
    asked = EndRequest()
    listener = Listener(asked, 2)
    in_vain = threading.Timer(PATIENCE_S, asked.set)
    in_vain.start()
    health_daemon.keep_watch(loaded, asked, Unmanaged, Notifier(listener))
    in_vain.cancel()
    assert listener.told == [
        "READY=1",
        "STATUS=no bundle is on trial",
        "STATUS=trial of version 7: 0 of 0.5 s, 0 restarts",
        "STOPPING=1",
        "STATUS=stopping",
    ]


def test_without_a_store_the_manager_is_told_so(config: Path, make: Maker) -> None:
    config.write_text(config.read_text().replace("bundle: current", "bundle: elsewhere"))
    asked = EndRequest()
    listener = Listener(asked, 1)
    health_daemon.keep_watch(load_config(config), asked, notifier=Notifier(listener))
    assert listener.told[0] == "READY=1"
    assert "STATUS=nothing to watch" in listener.told[1]


def test_what_refuses_is_said_once_and_tried_again(
    config: Path, make: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_daemon, "LOOK_EVERY_S", 0.001)
    put(Store(tmp_path / "store"), make(1), make)
    looks, asked = 0, EndRequest()

    class Broken:
        def stop(self) -> None: ...

        def start(self) -> None: ...

        def restarts(self) -> int:
            nonlocal looks
            looks += 1
            if looks == 3:
                asked.set()
            raise health_daemon.JetvlaError("systemctl show failed")

    health_daemon.keep_watch(load_config(config), asked, lambda read: Broken())
    assert looks == 3
    assert caplog.text.count("systemctl show failed; trying again") == 1


def test_a_wrong_configuration_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jetvla.services.health_daemon", "--config", str(tmp_path / "none.yaml")]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "health: cannot read" in ran.stderr
