"""Staged rollouts: a stable share of the devices, which grows by taking in more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tuf.api.metadata import TargetFile

from jetvla.runtime.errors import FleetError
from jetvla.services.fleet.device import machine_id
from jetvla.services.fleet.release import Release, reaching

RELEASE = Release("ab" * 32, 7, "policy", 30.0)
KNOWN = [True, True, True, False, False, False, False, True, False, False, True, True]
DEVICES = [f"{number:032x}" for number in range(2000)]


def reached(release: Release) -> set[str]:
    return {device for device in DEVICES if release.reaches(device)}


def target(release: Release, **custom: object) -> TargetFile:
    fields = {"custom": {**release.custom(), **custom}}
    return TargetFile(1, {"sha256": "0" * 64}, release.path, fields)


def test_the_share_is_what_was_asked_for() -> None:
    # Hashes are fixed, so this holds or does not, for ever; 5 standard deviations are 5.1 %.
    assert abs(len(reached(RELEASE)) / len(DEVICES) - 0.3) < 0.051
    assert reached(replace(RELEASE, percent=0.0)) == set()
    assert reached(replace(RELEASE, percent=100.0)) == set(DEVICES)


def test_a_growing_share_loses_nobody() -> None:
    before: set[str] = set()
    for percent in (1, 5, 10, 33.3, 50, 99, 100):
        now = reached(replace(RELEASE, percent=percent))
        assert before < now
        before = now


def test_another_release_takes_others_first() -> None:
    both = reached(RELEASE) & reached(replace(RELEASE, version=8))
    assert abs(len(both) / len(DEVICES) - 0.09) < 0.04


def test_a_known_answer() -> None:
    """The hash may not change between versions of jetvla: a device would change sides."""
    assert [RELEASE.reaches(device) for device in DEVICES[:12]] == KNOWN


def test_the_newest_that_reaches_a_device_is_its_own() -> None:
    staged, all_over = replace(RELEASE, version=8, percent=30.0), replace(RELEASE, percent=100.0)
    for device in DEVICES[:100]:
        expected = staged if staged.reaches(device) else all_over
        assert reaching(device, [all_over, staged])[0] is expected
    assert reaching("x", [all_over, staged, replace(RELEASE, percent=0.0)])[-1] is all_over
    assert reaching("x", []) == []


def test_it_survives_its_metadata() -> None:
    for percent in (0.0, 0.1, 33.3, 100.0):
        release = replace(RELEASE, percent=percent)
        assert Release.of(target(release)) == release


@pytest.mark.parametrize(
    "custom",
    [
        {"percent": "101"},
        {"percent": "nan"},
        {"percent": "-1"},
        {"percent": "many"},
        {"version": "7"},
        {"version": 8},
        {"digest": "../../etc"},
        {"more": 1},
    ],
)
def test_what_is_no_release_is_named(custom: dict[str, object]) -> None:
    with pytest.raises(FleetError, match=r"target 7-abababababababab\.jetvla is no release"):
        Release.of(target(RELEASE, **custom))
    with pytest.raises(FleetError, match="is no release"):
        Release.of(TargetFile(1, {"sha256": "0" * 64}, "x"))


def test_a_device_has_an_id(tmp_path: Path) -> None:
    (tmp_path / "machine-id").write_text("0123abcd\n")
    assert machine_id(tmp_path / "machine-id") == "0123abcd"
    (tmp_path / "empty").touch()
    for name, words in (("empty", "is empty"), ("missing", "cannot be read")):
        with pytest.raises(FleetError, match=f"{words}.*systemd-machine-id-setup"):
            machine_id(tmp_path / name)
