"""The repository's side: what is published, what is kept, and who can sign it."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Timestamp

from jetvla.runtime.archive import pack
from jetvla.runtime.errors import FleetError
from jetvla.services.cli import main
from jetvla.services.fleet.keys import KeyFolder
from jetvla.services.fleet.repository import ROLES, FleetRepository
from jetvla.services.store.store import Store

from ..bundles import Maker
from .conftest import Scene


def targets(scene: Scene) -> list[str]:
    return sorted(path.name.partition(".")[2] for path in (scene.place / "repository" / "targets").iterdir())


def test_keys_are_their_owners_alone(scene: Scene) -> None:
    folder = scene.place / "fleet-keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.glob("*.key")) == sorted(f"{role}-1.key" for role in ROLES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.key")} == {0o600}


def test_a_key_that_others_may_read_is_not_used(scene: Scene) -> None:
    (scene.place / "fleet-keys" / "timestamp-1.key").chmod(0o640)
    with pytest.raises(FleetError, match=r"timestamp-1\.key may be read by others; rotate that key"):
        scene.repository.refresh()


def test_root_key_is_needed_to_rotate_alone(scene: Scene) -> None:
    (scene.place / "fleet-keys" / "root-1.key").rename(scene.place / "safe")
    scene.publish(1)
    scene.repository.refresh()
    with pytest.raises(FleetError, match=r"no key of the role root .*bring root-N\.key there"):
        scene.repository.rotate("targets")
    (scene.place / "safe").rename(scene.place / "fleet-keys" / "root-1.key")
    scene.repository.rotate("targets")
    assert scene.update() is not None


@pytest.mark.parametrize(("left", "signs"), [(100, False), (59, True)])
def test_a_root_that_expires_soon_is_signed_again(
    scene: Scene, left: int, signs: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata, keys = scene.place / "repository" / "metadata", scene.place / "fleet-keys"
    scene.repository._days["root"] = left
    scene.repository.rotate("root")
    for old in keys.glob("root-1.*"):
        old.unlink()
    command = ["fleet", "refresh", str(scene.place / "repository"), "--keys", str(keys)]
    (keys / "root-2.key").rename(scene.place / "safe")
    assert main(command) == 0
    said = capsys.readouterr().err
    assert ("warning: root is signed until 20" in said) is signs
    assert not (metadata / "3.root.json").exists()
    (scene.place / "safe").rename(keys / "root-2.key")
    assert main(command) == 0
    assert capsys.readouterr().err == ""
    assert (metadata / "3.root.json").exists() is signs
    scene.publish(1)
    assert scene.update() is not None


def test_a_release_grows_and_takes_the_place_of_older_ones(scene: Scene) -> None:
    first = scene.publish(1)
    second = scene.publish(2, percent=10)
    assert [r.percent for r in scene.repository.releases()] == [100, 10]
    scene.repository.publish(replace(second, percent=100.0), scene.place / "made-2.jetvla")
    assert [r.version for r in scene.repository.releases()] == [2]
    assert targets(scene) == [first.path, second.path], "a device may be about to download it"
    third = scene.publish(3)
    assert targets(scene) == [second.path, third.path]


def test_a_version_is_published_once_and_only_above_the_others(scene: Scene) -> None:
    scene.publish(3)
    for bundle in (scene.make(2), scene.make(3, wrong=True)):
        with pytest.raises(FleetError, match=r"is not above 3.*--version 4"):
            scene.publish(2 if bundle.name == "made-2" else 3, bundle=bundle)
    assert [r.version for r in scene.repository.releases()] == [3]


def test_a_publication_that_is_interrupted_is_not_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scene.publish(1)

    def cut(self: FleetRepository, force: bool = False) -> None:
        raise KeyboardInterrupt

    for version, step in ((2, "do_timestamp"), (3, "do_snapshot")):
        with monkeypatch.context() as patch:
            patch.setattr(FleetRepository, step, cut)
            with pytest.raises(KeyboardInterrupt):
                scene.publish(version)
    assert scene.update() == first.digest
    scene.publish(4, percent=50)
    assert [release.version for release in scene.repository.releases()] == [1, 4]


def test_a_repository_is_made_once_and_found_by_what_it_is(tmp_path: Path, scene: Scene) -> None:
    with pytest.raises(FleetError, match="is a repository already"):
        scene.repository.create()
    with pytest.raises(FleetError, match=r"is no repository; make one with 'jetvla fleet init"):
        FleetRepository(tmp_path / "none", KeyFolder(tmp_path / "none-keys")).refresh()
    (scene.place / "repository" / "metadata" / "timestamp.json").write_text("rot")
    with pytest.raises(FleetError, match=r"timestamp\.json is damaged"):
        scene.repository.refresh()


def test_a_repository_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    repository = FleetRepository(tmp_path / "file" / "repository", KeyFolder(tmp_path / "keys"))
    with pytest.raises(FleetError, match=r"cannot be changed \(Not a directory: .*file/repository"):
        repository.create()
    repository = FleetRepository(tmp_path / "repository", KeyFolder(tmp_path / "keys"))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(FleetRepository, "do_snapshot", full)
        with pytest.raises(FleetError, match=r"cannot be changed \(No space left on device\); make room"):
            repository.create()
    assert not repository.first_root.exists()
    assert not list((tmp_path / "keys").iterdir())
    repository.create()
    assert (tmp_path / "keys" / "root-1.key").exists()


def test_from_the_command_line(
    make: Maker, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, keys = tmp_path / "repo", ["--keys", str(tmp_path / "k")]
    place = str(repository)
    assert main(["fleet", "init", place, *keys, "--expires", "timestamp=1"]) == 0
    said = capsys.readouterr().out
    assert f"{repository}/metadata/1.root.json: bring it to every device, once" in said
    assert "no release is offered" in said
    expires = Metadata[Timestamp].from_file(str(repository / "metadata" / "timestamp.json")).signed.expires
    assert f"timestamp {expires:%Y-%m-%d}" in said
    bundle = make(1)
    trusted = ["--trusted", str(make.keys)]
    assert main(["fleet", "publish", place, str(bundle), *keys, "--percent", "25", *trusted]) == 0
    assert "random-tiny version 1  25 % of the devices" in capsys.readouterr().out
    pack(bundle, tmp_path / "b.jetvla")
    assert main(["fleet", "publish", place, str(tmp_path / "b.jetvla"), *keys, *trusted]) == 0
    assert main(["fleet", "rotate-key", place, "timestamp", *keys]) == 0
    assert "the role timestamp has a new key" in capsys.readouterr().out
    assert main(["fleet", "refresh", place, *keys]) == 0
    capsys.readouterr()
    assert main(["fleet", "list", place]) == 0
    assert "random-tiny version 1  100 % of the devices" in capsys.readouterr().out

    (bundle / "manifest.sig").unlink()
    for arguments, words in (
        (["publish", place, str(bundle), *keys, *trusted], "the bundle is unsigned"),
        (
            ["publish", place, str(make(2)), "--keys", str(tmp_path / "none"), *trusted],
            "holds no key of the role targets",
        ),
        (["init", place, *keys], "is a repository already"),
    ):
        assert main(["fleet", *arguments]) == 1
        assert words in capsys.readouterr().err
    for wrong in (["--percent", "101"], ["--expires", "root=0"], ["--expires", "king=3"], ["--expires", "root"]):
        with pytest.raises(SystemExit):
            main(["fleet", "publish", place, str(bundle), *keys, *wrong])


def test_a_forged_bundle_is_not_published_and_can_be_withdrawn(
    make: Maker, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = make(1)
    manifest = forged / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 3'))
    keys, trusted = ["--keys", str(scene.keys.path)], ["--trusted", str(make.keys)]
    publish = ["fleet", "publish", str(tmp_path / "repository"), str(forged), *keys]
    for arguments, words in (
        ([], "--trusted DIR"),
        (["--percent", "0"], "--trusted DIR"),
        (trusted, "not signed by a trusted key"),
        (["--percent", "0", *trusted], "not signed by a trusted key"),
    ):
        assert main([*publish, *arguments]) == 1
        assert words in capsys.readouterr().err
    assert scene.repository.releases() == ()

    scene.publish(3, bundle=forged)
    assert main([*publish, "--percent", "0"]) == 0
    assert "version 3  0 % of the devices" in capsys.readouterr().out
    assert main([*publish, "--percent", "1", *trusted]) == 1


def test_without_room_to_pack_nothing_is_published(
    make: Maker, scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("jetvla.runtime.archive.pack", full)
    place, keys = str(scene.place / "repository"), str(scene.keys.path)
    assert main(["fleet", "publish", place, str(make(1)), "--keys", keys, "--trusted", str(make.keys)]) == 1
    assert "cannot be packed: No space left on device; make room, or set TMPDIR" in capsys.readouterr().err
    assert not scene.repository.releases()


def test_a_device_updates_from_the_command_line(
    make: Maker, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetvla.services.fleet.device.machine_id.__defaults__", (tmp_path / "machine-id",))
    (tmp_path / "machine-id").write_text("0123\n")
    release = scene.publish(1)
    place = ["--store", str(tmp_path / "store"), "--state", str(tmp_path / "state"), "--trusted", str(make.keys)]
    command = ["bundle", "update", scene.server.url, *place]
    assert main(command) == 1
    assert "trusts no fleet yet" in capsys.readouterr().err
    assert main([*command, "--trust-root", str(scene.repository.first_root)]) == 0
    assert "current, and on trial" in capsys.readouterr().out
    assert Store(tmp_path / "store").current == release.digest
    assert main(command) == 0
    assert capsys.readouterr().out == "random-tiny version 1 is current already\n"


def test_without_tuf_the_command_names_what_installs_it(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys, importlib.util as u; real = u.find_spec; "
        "u.find_spec = lambda name, *a: None if name == 'tuf' else real(name, *a); "
        "from jetvla.services.cli import main; sys.exit(main())"
    )
    for command in (["fleet", "list", "x"], ["bundle", "update", "http://x"]):
        ran = subprocess.run([sys.executable, "-c", code, *command], check=False, capture_output=True, text=True)
        assert ran.returncode == 1
        assert "a fleet needs tuf, which is not installed; install it with: pip install 'jetvla[fleet]'" in ran.stderr
