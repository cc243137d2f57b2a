"""What the health service does to store and daemons, in which order, and after it was interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.config import TrialConfig
from jetvla.runtime.errors import JetvlaError, StoreError
from jetvla.runtime.telemetry.status import Status, write_status
from jetvla.services.store.changes import changing
from jetvla.services.store.install import Terms, install
from jetvla.services.store.store import Store
from jetvla.services.store.watch import HealthWatch, fresh_status

from ..bundles import Maker

LIMITS = TrialConfig(seconds=1.0, missed=0, clipped=0.0, restarts=0)


class FakeUnits:
    """Notes what is asked of it, and which bundle was current then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: list[tuple[str, str | None]] = []
        self.count = 0
        self.refuses = self.refuses_start = self.gave_up = self.is_stopped = False

    def stop(self) -> None:
        self.asked.append(("stop", self._store.current))
        if self.refuses:
            raise JetvlaError("jetvla-guard.service was stopped and still runs")

    def start(self) -> None:
        self.asked.append(("start", self._store.current))
        if self.refuses_start:
            raise JetvlaError("systemctl start failed")
        self.gave_up = False

    def restarts(self) -> int:
        return self.count

    def given_up(self) -> bool:
        return self.gave_up

    def stopped(self) -> bool:
        return self.is_stopped


class Scene:
    """A store with a committed bundle ``old`` and a newer one ``new`` on trial."""

    def __init__(self, store: Store, make: Maker, terms: Terms) -> None:
        self.store, self.terms, self.make = store, terms, make
        self.old = install(store, make(1), terms, print)
        with changing(store) as changes:
            changes.commit(self.old)
        self.new = install(store, make(2), terms, print)
        self.units = FakeUnits(store)
        self.status: Status | None = None
        self.watch = self.restarted()

    def restarted(self) -> HealthWatch:
        """The service, begun anew."""
        self.watch = HealthWatch(self.store, self.make.keys, self.units, lambda: self.status, LIMITS, 100.0)
        return self.watch

    def report(self, bundle: str, **fields: object) -> None:
        base = Status(0, 7, "DISARMED", "", bundle, None, "", "", 0, 0, {}, {}, [], golden=True, policy_bundle=bundle)
        self.status = replace(base, **fields)  # type: ignore[arg-type]
        self.watch.look()


@pytest.fixture
def scene(store: Store, make: Maker, terms: Terms) -> Scene:
    return Scene(store, make, terms)


def test_a_good_bundle_is_committed_and_left_alone(scene: Scene) -> None:
    scene.report(scene.new, followed=99)
    assert scene.store.trial is not None
    scene.report(scene.new, followed=100, state="ARMED")
    assert (scene.store.current, scene.store.trial) == (scene.new, None)
    assert scene.store.history.highest() == 2
    scene.report(scene.new, followed=200, golden=False)
    assert scene.units.asked == []
    assert scene.store.history.verdict(scene.new) == "committed"


def test_how_far_a_trial_is_can_be_read(scene: Scene) -> None:
    assert scene.watch.progress == "no bundle is on trial"
    scene.watch = HealthWatch(
        scene.store,
        scene.make.keys,
        scene.units,
        lambda: scene.status,
        LIMITS.model_copy(update={"seconds": 60.0, "restarts": 2}),
        100.0,
    )
    scene.report(scene.new, followed=2399)
    assert scene.watch.progress == "trial of version 2: 23 of 60 s, 0 restarts"
    scene.units.count = 1
    scene.report(scene.new, followed=2399)
    assert scene.watch.progress == "trial of version 2: 23 of 60 s, 1 restart"
    scene.report(scene.new, state="ARMED", golden=False)
    assert scene.watch.progress == "the trial of version 2 has failed: the golden self-test failed on this engine"
    for _ in range(2):
        scene.report(scene.old, pid=8)
    assert scene.watch.progress == "no bundle is on trial"


def test_a_bad_bundle_is_rolled_back_between_stop_and_start(scene: Scene) -> None:
    scene.report(scene.new, counts={"stale_chunk": 1})
    assert scene.units.asked == [("stop", scene.new), ("start", scene.old)]
    assert (scene.store.current, scene.store.previous, scene.store.trial) == (scene.old, None, None)
    assert [e.what for e in scene.store.history.entries()][-2:] == ["failed", "rolled back"]
    scene.report(scene.new, counts={"stale_chunk": 1})
    assert len(scene.units.asked) == 2, "the last report of the guard that was stopped is no news"
    scene.report(scene.old, pid=8)
    assert len(scene.units.asked) == 2


def test_a_moving_robot_is_left_alone_until_the_guard_has_stopped_it(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        scene.report(scene.new, state="ARMED", clipped=1)
        scene.report(scene.new, state="STOPPING", clipped=1)
    assert scene.units.asked == []
    assert caplog.text.count("is rolled back when the robot is disarmed") == 1
    scene.report(scene.new, state="LATCHED")
    assert [what for what, _ in scene.units.asked] == ["stop", "start"]
    assert scene.store.current == scene.old


def test_a_crash_loop_without_any_report_is_rolled_back(scene: Scene) -> None:
    scene.watch.look()
    scene.units.count = 1
    scene.watch.look()
    assert scene.store.current == scene.old


def test_without_a_bundle_to_go_back_to_the_trial_ends(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    (scene.store.root / "previous").unlink()
    scene.report(scene.new, golden=False)
    assert (scene.store.current, scene.store.trial, scene.units.asked) == (scene.new, None, [])
    assert scene.store.history.verdict(scene.new) == "failed"
    assert "there is no previous one" in caplog.text


def test_a_damaged_bundle_is_not_gone_back_to(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    (scene.store.folder(scene.old) / "golden.npz").write_bytes(b"rot")
    scene.report(scene.new, golden=False)
    assert (scene.store.current, scene.store.trial) == (scene.new, None)
    assert [what for what, _ in scene.units.asked] == ["stop", "start"]
    assert "the bundle stays, for" in caplog.text


def test_a_new_bundle_is_taken_up_when_the_robot_cannot_move(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    for state in ("ARMED", "STOPPING", "LATCHED"):
        scene.report(scene.old, state=state)
    assert scene.units.asked == []
    assert caplog.text.count("is taken up when the robot is disarmed") == 1
    scene.report(scene.old, state="DISARMED")
    assert scene.units.asked == [("stop", scene.new), ("start", scene.new)]
    scene.report(scene.old, state="DISARMED")
    assert len(scene.units.asked) == 2


def test_a_guard_that_took_up_a_bundle_without_the_policy_commits_nothing(scene: Scene) -> None:
    """It was started again alone while the robot was armed with the former bundle."""
    scene.report(scene.old, state="ARMED")
    scene.report(scene.new, pid=8, state="LATCHED", policy_bundle=scene.old, followed=10**6)
    assert scene.units.asked == []
    assert scene.store.trial is not None
    scene.report(scene.new, pid=8, policy_bundle=scene.old, followed=10**6)
    assert scene.units.asked == [("stop", scene.new), ("start", scene.new)]
    scene.report(scene.new, pid=8, policy_bundle=scene.old, followed=10**6)
    assert len(scene.units.asked) == 2
    assert scene.store.trial is not None
    scene.report(scene.new, pid=9, policy_bundle="")
    scene.report(scene.new, pid=9, followed=100)
    assert len(scene.units.asked) == 2
    assert scene.store.history.verdict(scene.new) == "committed"


def test_a_mend_is_not_condemned_for_crashes_of_what_it_replaces(scene: Scene) -> None:
    for _ in range(3):
        scene.units.count += 1
        scene.report(scene.old, state="LATCHED")
    scene.units.count += 1
    scene.report(scene.old)
    assert scene.units.asked == [("stop", scene.new), ("start", scene.new)]
    scene.units.count += 1
    scene.report(scene.new, pid=8, policy_bundle="")
    scene.report(scene.new, pid=8)
    assert (scene.store.current, scene.store.trial is None) == (scene.new, False)
    scene.units.count += 1
    scene.report(scene.new, pid=8)
    assert scene.store.history.verdict(scene.new) == "failed"


def test_crashes_after_the_new_bundle_was_started_count_though_nothing_reports(scene: Scene) -> None:
    scene.report(scene.old)
    scene.status, scene.units.count = None, 1
    scene.watch.look()
    assert scene.store.history.verdict(scene.new) == "failed"


def test_what_an_operator_went_back_to_is_taken_up_too(scene: Scene) -> None:
    scene.report(scene.new)
    with changing(scene.store) as changes:
        changes.roll_back("by the operator", scene.terms.trusted)
    scene.report(scene.new)
    assert scene.units.asked == [("stop", scene.old), ("start", scene.old)]
    assert scene.store.trial is None


def test_a_guard_that_does_not_stop_keeps_its_bundle(scene: Scene) -> None:
    scene.units.refuses = True
    for _ in range(2):
        with pytest.raises(JetvlaError, match="still runs"):
            scene.report(scene.new, golden=False)
    assert scene.store.current == scene.new
    scene.units.refuses = False
    scene.watch.look()
    assert scene.store.current == scene.old


def test_a_store_that_is_busy_stops_nobody(scene: Scene) -> None:
    with scene.store.locked(), pytest.raises(StoreError, match="another process"):
        scene.report(scene.new, golden=False)
    assert scene.units.asked == []
    scene.watch.look()
    assert scene.store.current == scene.old


def test_another_bundle_begins_another_trial(scene: Scene) -> None:
    scene.report(scene.new, followed=99)
    newest = install(scene.store, scene.make(3), scene.terms, print)
    scene.report(newest, pid=8, followed=99)
    assert scene.store.trial is not None
    scene.report(newest, pid=8, followed=100)
    assert scene.store.history.verdict(newest) == "committed"
    assert scene.store.history.verdict(scene.new) is None


def test_a_start_that_fails_is_tried_again(scene: Scene) -> None:
    scene.units.refuses_start = True
    for state, bundle in (("DISARMED", scene.old), ("LATCHED", scene.new)):
        with pytest.raises(JetvlaError, match="start failed"):
            scene.report(bundle, state=state, golden=bundle == scene.old)
        scene.status = None
        with pytest.raises(JetvlaError, match="start failed"):
            scene.watch.look()
    assert [what for what, _ in scene.units.asked] == ["stop", "start", "start"] * 2
    scene.units.refuses_start = False
    scene.restarted().look()
    assert scene.units.asked[-1] == ("start", scene.old)
    scene.watch.look()
    assert len(scene.units.asked) == 7
    assert (scene.store.current, scene.store.trial) == (scene.old, None)


@pytest.mark.parametrize("taken_up", [True, False])
def test_who_arms_while_the_store_is_waited_for_is_not_stopped(scene: Scene, taken_up: bool) -> None:
    scene.report(scene.new, pid=6)
    before = replace(scene.status, bundle=scene.old) if taken_up else replace(scene.status, golden=False)
    reports = iter([before])
    scene.status = replace(before, state="ARMED")
    watch = HealthWatch(scene.store, scene.make.keys, scene.units, lambda: next(reports, scene.status), LIMITS, 100.0)
    for _ in range(2):
        watch.look()
    assert (scene.units.asked, scene.store.current) == ([], scene.new)
    scene.status = replace(before, state="DISARMED")
    watch.look()
    assert [what for what, _ in scene.units.asked] == ["stop", "start"]
    assert scene.store.current == (scene.new if taken_up else scene.old)


@pytest.mark.parametrize("call", ["stop", "start"])
def test_killed_while_a_bundle_is_taken_up_the_next_service_starts_it(scene: Scene, call: str) -> None:
    child = os.fork()
    if child == 0:
        setattr(scene.units, call, lambda: os.kill(os.getpid(), signal.SIGKILL))
        scene.report(scene.old)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    scene.restarted()
    for _ in range(2):
        scene.watch.look()
    assert scene.units.asked == [("start", scene.new)]


def test_what_was_given_up_is_started_with_another_bundle(store: Store, make: Maker, terms: Terms) -> None:
    bad = install(store, make(1), terms, print)
    units = FakeUnits(store)
    watch = HealthWatch(store, make.keys, units, lambda: None, LIMITS, 100.0)
    watch.look()
    units.count = 1
    watch.look()
    assert store.history.verdict(bad) == "failed"
    units.gave_up = True
    for _ in range(2):
        watch.look()
    assert units.asked == [], "it has failed, and nothing is there instead"
    good = install(store, make(2), terms, print)
    for _ in range(2):
        watch.look()
    assert units.asked == [("start", good)]
    assert store.previous is None, "what failed is not gone back to"


def test_a_trial_that_an_operator_ends_under_way_is_no_fault(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = iter([scene.store.trial])
    monkeypatch.setattr(Store, "trial", property(lambda store: next(trials, None)))
    scene.report(scene.new)
    assert (scene.store.current, scene.units.asked) == (scene.new, [])


def test_what_an_operator_stopped_stays_so(scene: Scene) -> None:
    for _ in range(2):
        scene.watch.look()
    install(scene.store, scene.make(3), scene.terms, print)
    scene.restarted().look()
    assert scene.units.asked == []


def test_what_an_operator_stopped_is_rolled_back_and_stays_so(scene: Scene) -> None:
    scene.report(scene.new, state="ARMED", golden=False)
    scene.status, scene.units.is_stopped = None, True
    for _ in range(2):
        scene.watch.look()
    assert scene.store.current == scene.old
    assert "start" not in [what for what, _ in scene.units.asked]


def test_a_bundle_of_a_key_that_is_trusted_no_more_is_not_gone_back_to(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    (scene.make.keys / "test.pub").unlink()
    scene.report(scene.new, golden=False)
    assert (scene.store.current, scene.store.trial) == (scene.new, None)
    assert [what for what, _ in scene.units.asked] == ["stop", "start"]
    assert "not signed by a trusted key" in caplog.text


def test_a_bad_bundle_whose_manifest_is_damaged_is_rolled_back(scene: Scene) -> None:
    (scene.store.folder(scene.new) / "manifest.json").write_text("{")
    scene.watch.look()
    scene.units.count = 1
    scene.watch.look()
    assert (scene.store.current, scene.store.trial) == (scene.old, None)
    failed = next(e for e in scene.store.history.entries() if e.what == "failed")
    assert (failed.version, failed.name) == (2, "random-tiny")


@pytest.mark.parametrize("call", ["stop", "start"])
def test_killed_within_a_rollback_it_is_finished_by_the_next_service(scene: Scene, call: str) -> None:
    child = os.fork()
    if child == 0:
        setattr(scene.units, call, lambda: os.kill(os.getpid(), signal.SIGKILL))
        scene.report(scene.new, golden=False)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert scene.store.current == (scene.new if call == "stop" else scene.old)
    scene.restarted().look()
    assert scene.units.asked[-1] == ("start", scene.old)
    assert (scene.store.current, scene.store.trial) == (scene.old, None)
    scene.watch.look()
    assert [w for w, _ in scene.units.asked].count("start") == 1


def test_an_activation_that_was_killed_starts_nothing(scene: Scene) -> None:
    scene.store.trial_path.write_text('{"digest": "%s", "since": ""}' % ("0" * 64))
    scene.watch.look()
    assert scene.units.asked == []
    assert not scene.store.trial_path.exists()


def test_an_old_report_is_none(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "status.json"
    assert fresh_status(path, clock) is None
    write_status(Status(clock.now_ns(), 7, "DISARMED", "", "ab", None, "", "", 0, 0, {}, {}, []), path)
    assert fresh_status(path, clock) is not None
    clock.advance(2.9)
    assert fresh_status(path, clock) is not None
    clock.advance(0.2)
    assert fresh_status(path, clock) is None
    clock.advance(-10)
    assert fresh_status(path, clock) is None, "of another boot"
    path.write_text("{}")
    assert fresh_status(path, clock) is None


def test_a_guard_that_was_armed_and_cannot_report_any_more_counts_as_armed_while_it_lives(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "status.json"
    ended = subprocess.Popen(["true"])
    ended.wait()
    for state, pid, holds in (
        ("ARMED", os.getpid(), True),
        ("STOPPING", os.getpid(), True),
        ("DISARMED", os.getpid(), False),
        ("LATCHED", os.getpid(), False),
        ("ARMED", ended.pid, False),
    ):
        write_status(Status(clock.now_ns(), pid, state, "", "ab", None, "", "", 0, 0, {}, {}, []), path)
        clock.advance(3600)
        assert (fresh_status(path, clock) is not None) is holds
