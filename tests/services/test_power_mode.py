"""A power mode that needs a reboot is left to the next boot, and what is in force until then is known."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from jetvla.engines.compile_environment import environment
from jetvla.runtime.engine_key import Machine
from jetvla.services import power_mode

CONF = """\
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< POWER_MODEL ID=3 NAME=7W >
< PM_CONFIG DEFAULT=0 >
"""
# As NVIDIA's does: what needs a reboot is asked for at the terminal, and a live change is recorded.
NVPMODEL = """\
#!/bin/sh
root={root}
echo "$*" >> $root/calls
case "$1" in
    -q) {query}
        echo "NV Power Mode: SOME_NAME"
        echo "$mode" ;;
    -m) if [ "$2" = {live} ]; then
            echo "$2" > $root/hardware
            printf 'pmode:%04d\\n' "$2" > $root/var/lib/nvpmodel/status
            exit 0
        fi
        echo "NVPM WARN: Reboot required for changing to this power mode: $2"
        echo "NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:"
        read answer || echo "NVPM ERROR: bad input!"
        test "$answer" != yes || touch $root/rebooted
        echo "NVPM ERROR: optMask is 1, no request for power mode"
        exit {refuses_with} ;;
esac
"""
QUERIES = {
    "hardware": "mode=$(cat $root/hardware)",
    "status file": 'mode=$(sed "s/.*pmode:0*\\([0-9]\\).*/\\1/;q" $root/var/lib/nvpmodel/status)',
}


@dataclass
class Jetson:
    """In mode 0. Mode 3 it can take at once; all others need a reboot."""

    root: Path

    @property
    def status(self) -> Path:
        return self.root / "var/lib/nvpmodel/status"

    @property
    def in_force(self) -> Path:
        return self.root / "run/jetvla-clocks/in-force"

    def put(self, path: str, text: str) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def program(self, query: str = QUERIES["hardware"], refuses_with: int = 0) -> None:
        script = NVPMODEL.format(root=self.root, query=query, live=3, refuses_with=refuses_with)
        self.put("usr/sbin/nvpmodel", script).chmod(0o755)

    def set(self, text: str) -> int:
        return power_mode.main([text], self.root)

    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.is_file() else []

    def reboot(self) -> None:
        """As nvpmodel.service does it."""
        self.in_force.unlink(missing_ok=True)
        self.put("hardware", self.status.read_text().partition("pmode:")[2][:4].lstrip("0") or "0")


@pytest.fixture(params=QUERIES)
def jetson(tmp_path: Path, request: pytest.FixtureRequest) -> Jetson:
    made = Jetson(tmp_path)
    made.put("etc/nvpmodel.conf", CONF)
    made.put("var/lib/nvpmodel/status", "pmode:0000\n")
    made.put("hardware", "0")
    made.program(QUERIES[request.param])
    return made


LATER = "power mode 2 applies after a reboot, which this change needs: sudo reboot; until then mode 0 is in force"


@pytest.mark.parametrize("refuses_with", [0, 1])
def test_a_mode_that_needs_a_reboot_applies_at_the_next(
    jetson: Jetson, refuses_with: int, capfd: pytest.CaptureFixture[str]
) -> None:
    jetson.program(refuses_with=refuses_with)
    assert jetson.set("2") == 0
    assert capfd.readouterr().out.splitlines()[-1] == LATER
    assert jetson.status.read_text() == "pmode:0002\n"
    assert jetson.in_force.read_text() == "0000\n"
    assert not (jetson.root / "rebooted").exists()
    assert Machine.here(jetson.root).power_mode == "0000"
    jetson.reboot()
    assert Machine.here(jetson.root).power_mode == "0002"
    assert jetson.set("2") == 0
    assert capfd.readouterr().out == "power mode 2 is in force\n"
    assert not jetson.in_force.exists()


def test_nvpmodel_is_given_no_terminal(jetson: Jetson, capfd: pytest.CaptureFixture[str]) -> None:
    read, written = os.pipe()
    os.write(written, b"yes\n")
    kept = os.dup(0)
    os.dup2(read, 0)
    try:
        assert jetson.set("2") == 0
    finally:
        os.dup2(kept, 0)
        for descriptor in (read, written, kept):
            os.close(descriptor)
    assert "bad input" in capfd.readouterr().out
    assert not (jetson.root / "rebooted").exists()


def test_a_restart_of_the_service_before_the_reboot_changes_nothing(
    jetson: Jetson, capfd: pytest.CaptureFixture[str]
) -> None:
    jetson.set("2")
    before = len(jetson.calls())
    capfd.readouterr()
    assert jetson.set("2") == 0
    assert capfd.readouterr().out == f"{LATER}\n"
    assert len(jetson.calls()) == before
    assert (jetson.in_force.read_text(), jetson.status.read_text()) == ("0000\n", "pmode:0002\n")


def test_another_mode_before_the_reboot(jetson: Jetson) -> None:
    jetson.set("2")
    assert jetson.set("1") == 0
    assert (jetson.in_force.read_text(), jetson.status.read_text()) == ("0000\n", "pmode:0001\n")
    assert jetson.set("3") == 0
    assert not jetson.in_force.exists()
    assert Machine.here(jetson.root).power_mode == "0003"


def test_the_mode_in_force_again_before_the_reboot(jetson: Jetson) -> None:
    jetson.set("2")
    assert jetson.set("0") == 0
    assert jetson.status.read_text() == "pmode:0000\n"
    assert not jetson.in_force.exists()


def test_a_mode_that_needs_none_is_set_at_once(jetson: Jetson, capfd: pytest.CaptureFixture[str]) -> None:
    assert jetson.set("3") == 0
    assert capfd.readouterr().out == "power mode 3 is in force now\n"
    assert Machine.here(jetson.root).power_mode == "0003"
    assert not jetson.in_force.exists()


@pytest.mark.parametrize("text", ["0", "0000"])
def test_the_mode_that_is_in_force_is_not_set_again(jetson: Jetson, text: str) -> None:
    held = jetson.status.stat().st_mtime_ns
    assert jetson.set(text) == 0
    assert jetson.calls() == ["-q"]
    assert jetson.status.stat().st_mtime_ns == held


@pytest.mark.parametrize("argv", [[], [""]])
def test_without_a_mode_nvpmodel_is_left_alone(
    jetson: Jetson, argv: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert power_mode.main(argv, jetson.root) == 0
    assert jetson.calls() == []
    assert "left as it is" in capfd.readouterr().out


@pytest.mark.parametrize("text", ["MAXN", "4", "-1", "2 3", "٢", "00002", "--help"])
def test_what_is_no_mode_of_this_jetson_is_one_clear_error(
    jetson: Jetson, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert jetson.set(text) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert text in line
    assert "JETVLA_POWER_MODE in /etc/default/jetvla" in line
    assert line.endswith("set it to one of: 0 (15W), 1 (25W), 2 (MAXN_SUPER), 3 (7W)")
    assert jetson.calls() == []
    assert jetson.status.read_text() == "pmode:0000\n"
    assert not jetson.in_force.exists()


@pytest.mark.parametrize("conf", [None, "nothing that is known\n"])
def test_without_a_list_of_modes_any_number_may_be_one(jetson: Jetson, conf: str | None) -> None:
    path = jetson.root / "etc/nvpmodel.conf"
    path.unlink() if conf is None else path.write_text(conf)
    assert jetson.set("7") == 0
    assert jetson.status.read_text() == "pmode:0007\n"
    assert jetson.set("MAXN") == 1


@pytest.mark.parametrize("query", ["exit 1", "echo 'NV Power Mode: MAXN'; exit 0"])
def test_an_nvpmodel_that_does_not_tell_is_an_error(
    jetson: Jetson, query: str, capfd: pytest.CaptureFixture[str]
) -> None:
    jetson.program(query)
    assert jetson.set("2") == 1
    assert "'sudo nvpmodel -q' must answer" in capfd.readouterr().err
    assert jetson.status.read_text() == "pmode:0000\n"
    assert not jetson.in_force.exists()


def test_a_mode_that_no_boot_sets_is_not_called_one_that_needs_a_reboot(
    jetson: Jetson, capfd: pytest.CaptureFixture[str]
) -> None:
    jetson.program()
    jetson.status.write_text("pmode:0002\n")
    assert jetson.set("2") == 0
    assert "journalctl -b -u nvpmodel" in capfd.readouterr().out
    assert Machine.here(jetson.root).power_mode == "0000"


def test_the_status_file_keeps_what_is_not_the_mode(jetson: Jetson) -> None:
    jetson.status.write_text("pmode:0000 fmode:quiet\n")
    jetson.status.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(jetson.status, 12, 34)
    jetson.set("2")
    assert jetson.status.read_text() == "pmode:0002 fmode:quiet\n"
    held = jetson.status.stat()
    assert held.st_mode & 0o7777 == 0o640
    assert os.geteuid() != 0 or (held.st_uid, held.st_gid) == (12, 34)
    assert [path.name for path in jetson.status.parent.iterdir()] == ["status"]


def test_a_status_file_is_written_whole_or_not_at_all(
    jetson: Jetson, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(descriptor: int, mode: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().parent == jetson.status.parent:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    assert jetson.set("2") == 1
    assert "No space left on device" in capfd.readouterr().err
    assert jetson.status.read_text() == "pmode:0000\n"


def test_every_account_may_read_what_is_in_force(jetson: Jetson) -> None:
    former = os.umask(0o077)
    try:
        jetson.set("2")
    finally:
        os.umask(former)
    assert jetson.in_force.stat().st_mode & 0o777 == 0o644


def test_figures_of_engines_are_kept_with_the_mode_in_force(jetson: Jetson) -> None:
    jetson.set("2")
    assert environment(jetson.root)["power_mode"] == "pmode:0000"
