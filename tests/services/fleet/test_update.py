"""A device takes what its fleet signed for it, and nothing else, from a real HTTP server."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from jetvla.runtime.errors import BundleError, FleetError, StoreError
from jetvla.services.fleet import update as update_module
from jetvla.services.fleet.fetcher import Patience
from jetvla.services.fleet.keys import KeyFolder
from jetvla.services.fleet.repository import FleetRepository
from jetvla.services.store.changes import changing
from jetvla.services.store.install import Terms

from . import server as servers
from .conftest import Scene
from .server import Server


def commit(scene: Scene, digest: str | None) -> None:
    assert digest is not None
    with changing(scene.store) as changes:
        changes.commit(digest)


def snapshot_of(scene: Scene, name: str) -> Path:
    """A copy of the repository as it is now."""
    return Path(shutil.copytree(scene.place / "repository", scene.place / name))


def serve(scene: Scene, source: Path, *names: str) -> None:
    """Put files of an older copy into the repository's place; all of it without ``names``."""
    target = scene.place / "repository"
    if not names:
        shutil.rmtree(target)
        shutil.copytree(source, target)
    for name in names:
        shutil.copyfile(source / name, target / name)


def test_a_release_is_installed_and_the_next_one_too(scene: Scene) -> None:
    first = scene.publish(1)
    assert scene.update() == first.digest
    assert (scene.store.current, scene.left()) == (first.digest, [])
    assert scene.said[0] == "random-tiny version 1, for 100 % of the devices"
    assert scene.update() is None
    assert scene.said == ["random-tiny version 1 is current already"]
    commit(scene, scene.store.current)
    second = scene.publish(2)
    assert scene.update() == second.digest
    assert scene.store.previous == first.digest


def test_an_empty_fleet_offers_nothing(scene: Scene) -> None:
    assert scene.update() is None
    assert scene.said == ["no release reaches this device"]


def test_without_a_root_that_a_person_brought_nothing_is_asked_for(scene: Scene) -> None:
    scene.brought = None
    with pytest.raises(FleetError, match=r"trusts no fleet yet.*--trust-root FILE"):
        scene.update()
    assert scene.server.asked == []


def test_the_root_is_brought_once_and_never_replaced_by_another(scene: Scene, tmp_path: Path) -> None:
    root = scene.brought
    scene.update()
    scene.brought = root
    scene.update()
    other = FleetRepository(tmp_path / "other", KeyFolder(tmp_path / "other-keys"))
    other.create()
    scene.brought = other.first_root
    with pytest.raises(FleetError, match="trusts another root already; remove that folder"):
        scene.update()


@pytest.mark.parametrize("kind", ["text", "missing", "unsigned", "timestamp"])
def test_what_is_no_root_is_not_trusted(scene: Scene, kind: str, tmp_path: Path) -> None:
    brought = tmp_path / "brought.json"
    metadata = tmp_path / "repository" / "metadata"
    if kind == "text":
        brought.write_text("hello")
    elif kind == "unsigned":
        content = (metadata / "1.root.json").read_text()
        assert '"sig":"' in content
        brought.write_text(content.replace('"sig":"', '"sig":"00', 1))
    elif kind == "timestamp":
        shutil.copyfile(metadata / "timestamp.json", brought)
    scene.brought = brought
    with pytest.raises(FleetError, match="is no root that 'jetvla fleet init' made"):
        scene.update()
    assert not scene.fleet.trusted_root.exists()


def test_a_stranger_on_the_same_address_is_refused(scene: Scene, tmp_path: Path) -> None:
    scene.publish(1)
    scene.update()
    shutil.rmtree(tmp_path / "repository")
    stranger = FleetRepository(tmp_path / "repository", KeyFolder(tmp_path / "stranger"))
    stranger.create()
    stranger.refresh()
    with pytest.raises(FleetError, match="is not signed by keys that this device trusts"):
        scene.update()


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_expired_metadata_is_refused_and_a_refresh_heals_it(
    scene: Scene, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.repository._days[role] = -1
    scene.publish(1)
    if role == "root":
        scene.repository.rotate("root")
    what = "root has expired; bring the key" if role == "root" else "metadata has expired, so updates may be held back"
    with pytest.raises(FleetError, match=rf"{what}.*'jetvla fleet refresh'.*clock.*says 20"):
        scene.update()
    assert scene.left() == []
    scene.repository._days[role] = 30
    assert scene.repository.refresh() == ""
    assert scene.update() is not None


def test_a_repository_that_was_set_back_is_refused(scene: Scene) -> None:
    scene.publish(1)
    old = snapshot_of(scene, "old")
    scene.publish(2)
    scene.update()
    current = scene.store.current
    serve(scene, old)
    with pytest.raises(FleetError, match="older than what this device has seen"):
        scene.update()
    assert scene.store.current == current


@pytest.mark.parametrize("names", [("metadata/timestamp.json",), ("targets",), ("metadata/2.snapshot.json",)])
def test_metadata_of_different_moments_is_refused(scene: Scene, names: tuple[str, ...], tmp_path: Path) -> None:
    """The device has never been here, so nothing but the signed versions can tell it."""
    scene.publish(1)
    scene.publish(2)
    metadata = tmp_path / "repository" / "metadata"
    if names[0] == "targets":
        shutil.copyfile(metadata / "2.targets.json", metadata / "3.targets.json")
    elif "timestamp" in names[0]:
        shutil.copyfile(metadata / "2.snapshot.json", metadata / "3.snapshot.json")
    else:
        shutil.copyfile(metadata / "2.targets.json", metadata / "3.targets.json")
        shutil.copyfile(metadata / "2.snapshot.json", metadata / "3.snapshot.json")
    with pytest.raises(FleetError, match="older than what this device has seen, or of different releases"):
        scene.update()
    assert scene.store.current is None


@pytest.mark.parametrize("name", ["timestamp", "2.snapshot", "2.targets"])
def test_an_altered_role_is_refused(scene: Scene, name: str, tmp_path: Path) -> None:
    scene.publish(1)
    path = tmp_path / "repository" / "metadata" / f"{name}.json"
    text = path.read_text()
    assert '"expires":"20' in text
    path.write_text(text.replace('"expires":"20', '"expires":"21'))
    with pytest.raises(FleetError, match="is not signed by keys that this device trusts"):
        scene.update()
    assert scene.store.current is None


@pytest.mark.parametrize(
    ("part", "misbehave", "match"),
    [
        ("/targets/", servers.altered, "altered or cut short"),
        ("/targets/", servers.truncated, "altered or cut short"),
        ("/targets/", servers.endless, "sends more than it should"),
        ("/targets/", servers.silent, "server is too slow"),
        ("/targets/", servers.silent_after_a_while, "server is too slow"),
        ("/targets/", servers.broken, r"has not got a file.*HTTP status 500"),
        ("timestamp.json", servers.endless, "sends more than it should"),
        ("timestamp.json", servers.truncated, "is not readable|is not in order"),
        ("timestamp.json", servers.silent, "server is too slow"),
        ("timestamp.json", servers.broken, "HTTP status 500"),
        ("2.root.json", servers.endless, "sends more than it should"),
        ("2.root.json", servers.silent_after_a_while, "server is too slow"),
        ("snapshot.json", servers.truncated, "is not readable|is not in order"),
        ("targets.json", servers.endless, "sends more than it should"),
    ],
)
def test_a_server_that_misbehaves_leaves_nothing_and_a_later_update_succeeds(
    scene: Scene, part: str, misbehave: servers.Misbehaviour, match: str
) -> None:
    release = scene.publish(1)
    slow = "silent" in misbehave.__name__
    fleet = replace(scene.fleet, patience=Patience(silence_s=0.3)) if slow else scene.fleet
    scene.server.misbehaviours[part] = misbehave
    with pytest.raises(FleetError, match=match) as caught:
        scene.update(fleet)
    assert scene.server.url in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert (scene.store.current, scene.left()) == (None, [])
    scene.server.misbehaviours.clear()
    assert scene.update() == release.digest
    assert scene.left() == []


def test_a_server_that_trickles_is_given_up(scene: Scene) -> None:
    """Each byte comes in time, and all of them never would."""
    scene.publish(1)
    scene.server.misbehaviours["/targets/"] = servers.trickling
    patient = Patience(silence_s=60.0, grace_s=0.5, bytes_per_s=1000.0)
    with pytest.raises(FleetError, match=r"server is too slow.* bytes in \d s"):
        scene.update(replace(scene.fleet, patience=patient))
    assert scene.left() == []


def test_a_server_that_is_away_is_named(scene: Scene) -> None:
    release = scene.publish(1)
    with Server(scene.place / "repository") as gone:
        away = replace(scene.fleet, url=gone.url)
    with pytest.raises(FleetError, match=r"cannot be reached or broke off; try again later \(.*refused"):
        scene.update(away)
    assert scene.update() == release.digest


@pytest.mark.parametrize("url", ["file:///etc", "ftp://host/x", "host", "http://", ""])
def test_only_web_servers_are_asked(scene: Scene, url: str) -> None:
    with pytest.raises(FleetError, match="is no address of a web server"):
        scene.update(replace(scene.fleet, url=url))


def test_an_update_that_was_killed_leaves_nothing_to_the_next(scene: Scene) -> None:
    release = scene.publish(1)
    child = os.fork()
    if child == 0:
        real = update_module.install

        def killed(*arguments: object) -> str:
            os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)  # type: ignore[arg-type]

        update_module.install = killed  # type: ignore[assignment]
        scene.update()
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert scene.left() == [release.path]
    assert scene.update() == release.digest
    assert scene.left() == []


def test_two_updates_do_not_race(scene: Scene) -> None:
    with update_module._locked(scene.fleet):
        (scene.fleet.downloads / "half").touch()
        with pytest.raises(FleetError, match="another update is running"):
            scene.update()
        assert scene.left() == ["half"]


def test_the_bundles_own_signature_is_checked_all_the_same(scene: Scene, tmp_path: Path) -> None:
    from jetvla.runtime.keys import create_key_pair

    key, _ = create_key_pair("stranger", tmp_path / "elsewhere")
    scene.publish(1, bundle=scene.make(1, key=key))
    with pytest.raises(BundleError, match="not signed by a trusted key"):
        scene.update()
    assert scene.left() == []


def test_a_bundle_that_fails_its_golden_samples_is_not_installed(scene: Scene) -> None:
    scene.publish(1)

    def fails(bundle: object) -> str:
        raise StoreError("wrong")

    scene.terms = Terms(scene.terms.trusted, fails)
    with pytest.raises(StoreError, match="wrong"):
        scene.update()
    assert (scene.store.current, scene.left()) == (None, [])


def test_what_failed_its_trial_here_is_not_tried_again(scene: Scene) -> None:
    scene.publish(1)
    commit(scene, scene.update())
    second = scene.publish(2)
    scene.update()
    with changing(scene.store) as changes:
        changes.condemn(second.digest, "slow")
        changes.roll_back("slow", scene.terms.trusted)
    assert scene.update() is None
    assert "has failed its trial here, and is not tried again" in scene.said[0]
    third = scene.publish(3)
    assert scene.update() == third.digest


@pytest.mark.parametrize("verdict", ["failed", "rolled back"])
def test_a_canary_that_is_refused_here_does_not_hide_the_release_below_it(scene: Scene, verdict: str) -> None:
    scene.publish(1)
    commit(scene, scene.update())
    second, third = scene.publish(2, percent=0.0), scene.publish(3, percent=99.9)
    assert scene.update() == third.digest
    with changing(scene.store) as changes:
        if verdict == "failed":
            changes.condemn(third.digest, "slow")
        changes.roll_back(verdict, scene.terms.trusted)
    assert scene.store.history.verdict(third.digest) == verdict
    assert scene.update() is None
    assert scene.said[1:] == ["random-tiny version 1 is current already"]
    scene.repository.publish(replace(second, percent=99.9), scene.place / "made-2.jetvla")
    assert scene.update() == second.digest
    assert "random-tiny version 3" in scene.said[0]
    commit(scene, second.digest)
    assert scene.update() is None
    assert scene.store.current == second.digest


def test_while_the_robot_moves_nothing_is_downloaded_but_what_is_new_is_told(scene: Scene) -> None:
    def refuse() -> None:
        raise StoreError("the robot is ARMED")

    first = scene.publish(1)
    commit(scene, scene.update())
    scene.terms = replace(scene.terms, check=refuse)
    assert scene.update() is None
    assert scene.said == ["random-tiny version 1 is current already"]
    scene.publish(2)
    scene.server.asked.clear()
    with pytest.raises(StoreError, match="the robot is ARMED"):
        scene.update()
    assert not [path for path in scene.server.asked if "/targets/" in path]
    assert scene.store.current == first.digest


def test_what_an_operator_went_back_from_is_not_taken_again(scene: Scene) -> None:
    scene.publish(1)
    commit(scene, scene.update())
    second = scene.publish(2)
    scene.update()
    with changing(scene.store) as changes:
        changes.roll_back("by the operator", scene.terms.trusted)
    assert scene.update() is None
    assert "is what an operator went back from here" in scene.said[0]
    with changing(scene.store) as changes:
        changes.activate(second.digest, scene.terms.trusted)
    assert scene.store.current == second.digest
    assert scene.update() is None
    assert "is current already" in scene.said[0]


@pytest.mark.parametrize("version", [1, 2])
def test_a_damaged_bundle_is_left_by_an_update_or_healed_by_its_own(scene: Scene, version: int) -> None:
    release = scene.publish(1)
    commit(scene, scene.update())
    (scene.store.folder(release.digest) / "manifest.json").write_text("{")
    if version == 2:
        release = scene.publish(2)
    assert scene.update() == release.digest
    assert scene.store.current == release.digest
    assert scene.store.manifest(release.digest).version == version


def test_what_is_not_to_be_activated_is_downloaded_once(scene: Scene) -> None:
    release = scene.publish(1)
    scene.terms = replace(scene.terms, activate=False)
    assert scene.update() == release.digest
    scene.server.asked.clear()
    assert scene.update() is None
    assert "is installed already" in scene.said[0]
    assert not [path for path in scene.server.asked if "/targets/" in path]
    (scene.store.folder(release.digest) / "golden.npz").write_bytes(b"rot")
    assert scene.update() == release.digest
    scene.terms = replace(scene.terms, activate=True)
    assert scene.update() == release.digest == scene.store.current


def test_a_withdrawn_release_brings_no_older_one_back(scene: Scene) -> None:
    scene.publish(1)
    commit(scene, scene.update())
    second = scene.publish(2, percent=99.9)
    assert scene.update() == second.digest
    scene.repository.publish(replace(second, percent=0.0), scene.place / "made-2.jetvla")
    for on_trial in (True, False):
        assert scene.update() is None
        assert scene.said == ["nothing is newer than version 2; the fleet offers 1"]
        assert scene.store.current == second.digest
        if on_trial:
            commit(scene, second.digest)


def test_a_release_for_nobody_reaches_nobody(scene: Scene) -> None:
    scene.publish(1, percent=0)
    assert scene.update() is None
    assert scene.said == ["no release reaches this device"]


def test_a_release_that_names_another_bundle_is_refused(scene: Scene) -> None:
    release = scene.publish(1)
    false = replace(release, digest=release.digest[:16] + "0" * 48)
    scene.repository.publish(false, scene.place / "made-1.jetvla")
    with pytest.raises(FleetError, match="holds another bundle than the fleet says"):
        scene.update()
    assert scene.left() == []


def test_keys_of_every_role_can_be_replaced_under_way(scene: Scene) -> None:
    scene.publish(1)
    commit(scene, scene.update())
    for version, role in enumerate(("timestamp", "snapshot", "targets", "root", "root"), start=2):
        scene.repository.rotate(role)
        release = scene.publish(version)
        assert scene.update() == release.digest
        commit(scene, release.digest)


def test_a_device_that_slept_through_rotations_follows_them(scene: Scene) -> None:
    scene.update()
    for role in ("root", "targets", "root", "timestamp", "root"):
        scene.repository.rotate(role)
    assert scene.publish(1).digest == scene.update()


def test_a_disk_that_is_full_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.publish(1)
    monkeypatch.setattr(update_module, "_MARGIN_BYTES", 1 << 60)
    with pytest.raises(FleetError, match=r"do not fit into .*download; make room there"):
        scene.update()
    assert scene.left() == []


def test_a_folder_that_cannot_be_written_is_named(scene: Scene) -> None:
    (scene.place / "file").touch()
    with pytest.raises(FleetError, match=r"file/state cannot be written \(Not a directory"):
        scene.update(replace(scene.fleet, state=scene.place / "file" / "state"))
