"""The measurements that start processes, on the tiny bundle: that they measure what they say, not how fast it is."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jetvla.engines.bench import turns
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.keys import load_trusted
from jetvla.services.bench import answers as answers_module
from jetvla.services.bench import beside as beside_module
from jetvla.services.bench.beside import beside
from jetvla.services.bench.course_files import write_course_files
from jetvla.services.bench.memory import memory
from jetvla.services.bench.site import site
from jetvla.services.bench.start import cold_start
from jetvla.services.resident import Resident

pytestmark = pytest.mark.build


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("course") / "files"
    write_course_files("tiny", folder)
    return folder


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sample is dropped, however busy this machine is."""
    monkeypatch.setattr(turns, "OTHERS", 1e9)


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """Nothing was compiled: the bundle's own graphs run."""
    return tmp_path / "engines"


@pytest.fixture
def ros() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")


def test_a_site_has_the_bundle_signed_and_leaves_nothing(signed_bundle: Path, engines: Path) -> None:
    with site(signed_bundle, engines) as place:
        config = load_config(place.config)
        bundle = Bundle.open(config.bundle, load_trusted(config.trusted))
        assert bundle.digest == Bundle.open(signed_bundle, None).digest
        assert place.picture.is_file()
        assert config.telemetry.audit is not None
    assert sorted(p.name for p in signed_bundle.parent.iterdir()) == ["bundle", "keys"]


def test_both_are_started_in_turns_until_they_act(signed_bundle: Path, engines: Path, course: Path) -> None:
    found = cold_start(signed_bundle, engines, course, accepted=1)
    assert [(s.accepted, s.dropped) for s in (found.ours, found.course)] == [(1, 0), (1, 0)]
    assert found.ratio.value == pytest.approx(found.course.median_s / found.ours.median_s)


def test_a_policy_that_does_not_start_is_no_sample(signed_bundle: Path, engines: Path, course: Path) -> None:
    golden = signed_bundle / "golden.npz"
    golden.write_bytes(golden.read_bytes()[:-1])
    with pytest.raises(JetvlaError, match=r"golden\.npz"):
        cold_start(signed_bundle, engines, course, accepted=1)


def test_a_policy_is_not_waited_for_without_end(
    signed_bundle: Path, engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_module, "PATIENCE_S", 0.0)
    with (
        site(signed_bundle, engines) as place,
        answers_module.answers(place) as policy,
        pytest.raises(JetvlaError, match="took 0 s"),
    ):
        policy.wait()


@pytest.mark.usefixtures("ros")
def test_memory_is_that_of_all_three_processes_at_work(signed_bundle: Path, engines: Path, course: Path) -> None:
    found = memory(signed_bundle, engines, course, turns=1)
    for resident in (found.guard, found.policy, found.course):
        assert 5 < resident.anonymous < resident.rss
        assert resident.pss <= resident.rss
    assert found.ratio == pytest.approx(found.course.pss / (found.guard.pss + found.policy.pss))


def test_memory_is_read_as_the_kernel_says_it() -> None:
    before = Resident.of(os.getpid())
    kept = np.ones(50_000_000, np.uint8)
    grown = Resident.of(os.getpid())
    assert grown.anonymous - before.anonymous == pytest.approx(len(kept) / 1e6, abs=5)


@pytest.mark.usefixtures("ros")
def test_the_guard_gets_chunks_in_its_turns_and_rests_in_the_others(signed_bundle: Path, engines: Path) -> None:
    found = beside(signed_bundle, engines, accepted=4)
    assert (found.alone.accepted, found.guarded.accepted) == (4, 4)
    # One to warm up, and the guarded turns', of which the last ones may come after the guard's last report.
    assert 3 <= found.chunks <= 5
    assert found.ticks > 0
    assert found.ratio.value == pytest.approx(found.guarded.ms / found.alone.ms)


def test_a_halted_process_takes_no_time_and_goes_on_after_it() -> None:
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    try:
        with beside_module._halted(busy.pid):
            _until(lambda: _state(busy.pid) == "T")
            took = beside_module._cpu_s(busy.pid)
            time.sleep(0.1)
            assert beside_module._cpu_s(busy.pid) == took
        _until(lambda: beside_module._cpu_s(busy.pid) > took)
    finally:
        busy.kill()
        busy.wait()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _until(enough: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not enough():
        assert time.monotonic() < give_up
        time.sleep(0.01)
