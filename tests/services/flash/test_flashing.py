"""From the order to NVIDIA's tool: what is put into the root file system, and what is never flashed."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from flash_stand_ins import FakeHost, TinyRunner, make_deb, order

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.errors import BundleError, ConfigError
from jetvla.runtime.keys import create_key_pair, load_public_key, load_trusted
from jetvla.services.flash import password as passwords
from jetvla.services.flash.__main__ import main
from jetvla.services.flash.errors import FlashError
from jetvla.services.flash.flashing import carry_out
from jetvla.services.flash.initrd import LOG, flash
from jetvla.services.flash.root import RootFilesystem, own_namespaces, run_program
from jetvla.services.flash.symptoms import SYMPTOMS, explain

SECRET = "correct horse battery staple"


def tree(root: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_without_confirmation_all_is_done_but_the_last_command(
    l4t: Path, deb: Path, password: Path, signed_bundle: Path
) -> None:
    said: list[str] = []
    run = TinyRunner()
    key = signed_bundle.parent / "keys/test.pub"
    carry_out(order(l4t, deb, password, bundle=signed_bundle, key=key), FakeHost(), said.append, run)
    root = l4t / "rootfs"
    assert (root / "etc/jetvla/trusted.d/test.pub").read_bytes() == key.read_bytes()
    current = root / "var/lib/jetvla/bundles/current"
    bundle = Bundle.open(current, (load_public_key(key),))
    assert str(current.readlink()) == bundle.digest
    wants = {str(p.relative_to(root / "etc/systemd/system")) for p in root.glob("etc/systemd/system/*/*")}
    assert wants == {
        "multi-user.target.wants/jetvla.target",
        "jetvla.target.wants/jetvla-guard.service",
        "jetvla.target.wants/jetvla-policy.service",
    }
    assert run.stdin["chpasswd"] == f"robot:{SECRET}\n"
    assert "robot:" in (root / "etc/passwd").read_text()
    assert not (root / "usr/sbin/policy-rc.d").exists()
    assert not (root / "var/tmp/jetvla.deb").exists()
    assert any(re.fullmatch(rf"cd {l4t} && sudo \./tools/kernel_flash/l4t_initrd_flash\.sh .*", line) for line in said)
    assert said[-1].startswith("nothing was flashed")
    assert not (l4t / "flashed").exists()


def test_the_confirmed_flash_takes_the_root_file_system_as_it_is(l4t: Path, deb: Path, password: Path) -> None:
    said: list[str] = []
    carry_out(order(l4t, deb, password), FakeHost(), said.append, TinyRunner())
    again = TinyRunner()
    password.unlink()
    carry_out(order(l4t, deb, password, flashes=True), FakeHost(), said.append, again)
    assert again.calls == []
    assert "jetson-orin-nano-devkit internal" in (l4t / "flashed").read_text()
    assert (l4t / LOG).read_text().startswith("flashing ")


def test_another_order_begins_with_the_original_and_leaves_nothing_of_the_one_before(
    l4t: Path, deb: Path, password: Path
) -> None:
    carry_out(order(l4t, deb, password, user="alice"), FakeHost(), lambda line: None, TinyRunner())
    carry_out(order(l4t, deb, password, user="bob"), FakeHost(), lambda line: None, TinyRunner())
    accounts = (l4t / "rootfs/etc/passwd").read_text()
    assert "bob:" in accounts
    assert "alice:" not in accounts


@pytest.mark.parametrize("step", ["dpkg-query", "systemctl", "chpasswd"])
def test_what_fails_half_way_is_never_flashed_and_the_next_run_is_clean(
    l4t: Path, deb: Path, password: Path, step: str
) -> None:
    original = tree(l4t / "rootfs")
    with pytest.raises(FlashError, match=step):
        carry_out(order(l4t, deb, password, flashes=True), FakeHost(), lambda line: None, TinyRunner(fails=step))
    assert not (l4t / "flashed").exists()
    root = RootFilesystem(l4t, TinyRunner())
    assert root.is_unfinished
    with pytest.raises(FlashError, match="half customised"):
        root.check_holds("anything")
    assert tree(l4t / "rootfs.jetvla-original") == original
    carry_out(order(l4t, deb, password, flashes=True), FakeHost(), lambda line: None, TinyRunner())
    assert (l4t / "flashed").exists()
    assert not root.is_unfinished


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from flash_stand_ins import FakeHost, TinyRunner, order
from jetvla.services.flash.flashing import carry_out
class Hangs(TinyRunner):
    def __call__(self, words, stdin=""):
        if "systemctl" in words:
            print("there", flush=True)
            signal.pause()
        return super().__call__(words, stdin)
l4t, deb, password = map(Path, sys.argv[2:])
carry_out(order(l4t, deb, password, flashes=True), FakeHost(), print, Hangs())
"""


def test_a_kill_in_the_middle_leaves_the_mark(l4t: Path, deb: Path, password: Path) -> None:
    words = [sys.executable, "-c", KILLED, *map(str, (Path(__file__).parent, l4t, deb, password))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "there\n":
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert (l4t / "rootfs.jetvla-unfinished").exists()
    assert not (l4t / "flashed").exists()
    carry_out(order(l4t, deb, password), FakeHost(), lambda line: None, TinyRunner())
    assert not (l4t / "rootfs/usr/sbin/policy-rc.d").exists()
    assert not (l4t / "rootfs.jetvla-unfinished").exists()


def test_services_of_the_package_do_not_start_on_this_machine(l4t: Path, deb: Path, password: Path) -> None:
    run = TinyRunner()
    carry_out(order(l4t, deb, password), FakeHost(), lambda line: None, run)
    assert run.forbidden["dpkg"]
    assert not run.forbidden["chpasswd"]


def test_what_the_package_depends_on_is_fetched(l4t: Path, deb: Path, password: Path) -> None:
    run = TinyRunner(fails="dpkg")
    carry_out(order(l4t, deb, password), FakeHost(), lambda line: None, run)
    assert [call[0] for call in run.calls][:4] == ["dpkg", "apt-get", "apt-get", "dpkg-query"]
    assert run.forbidden["apt-get"]


@pytest.mark.parametrize("fails", [False, True])
def test_apt_is_not_sent_to_a_server_whose_chip_is_not_filled_in_yet(
    l4t: Path, deb: Path, password: Path, fails: bool
) -> None:
    """NVIDIA's list is so until the flash; apt would fail on it."""
    folder = "etc/apt/sources.list.d"
    lists = l4t / "rootfs" / folder
    lists.mkdir(parents=True)
    (lists / "nvidia-l4t-apt-source.list").write_text("deb https://repo.invalid/jetson/<SOC> r36.4 main\n")
    (lists / "other.list").write_text("deb https://other.invalid jammy main\n")
    seen = []

    class Looking(TinyRunner):
        def __call__(self, words: Sequence[str], stdin: str = "") -> str:
            if "apt-get" in words:
                root = next(Path(word) for word in words if word.endswith("/rootfs"))
                seen.append(sorted(path.name for path in (root / folder).glob("*.list")))
                if fails:
                    raise FlashError("no network")
            return super().__call__(words, stdin)

    def flash() -> None:
        carry_out(order(l4t, deb, password), FakeHost(), lambda line: None, Looking(fails="dpkg"))

    if fails:
        with pytest.raises(FlashError, match="no network"):
            flash()
    else:
        flash()
    assert seen[0] == ["other.list"]
    assert sorted(path.name for path in lists.iterdir()) == ["nvidia-l4t-apt-source.list", "other.list"]


def test_without_a_network_both_reasons_are_named(l4t: Path, deb: Path, password: Path) -> None:
    class Offline(TinyRunner):
        def __call__(self, words: Sequence[str], stdin: str = "") -> str:
            if "apt-get" in words:
                raise FlashError("Temporary failure resolving 'ports.ubuntu.com'")
            return super().__call__(words, stdin)

    with pytest.raises(FlashError, match=r"(?s)dpkg failed.*Temporary failure.*rootfs\.jetvla-original"):
        carry_out(order(l4t, deb, password), FakeHost(), lambda line: None, Offline(fails="dpkg"))


@pytest.mark.parametrize(
    ("idles", "reason"),
    [
        ("systemctl", r"jetvla\.target, .* could not be enabled"),
        ("dpkg-query", "is not known in .*, not installed"),
        ("dpkg", "no unit"),
    ],
)
def test_a_step_that_did_nothing_is_noticed(l4t: Path, deb: Path, password: Path, idles: str, reason: str) -> None:
    with pytest.raises(FlashError, match=reason):
        carry_out(order(l4t, deb, password), FakeHost(), lambda line: None, TinyRunner(idles=idles))
    assert RootFilesystem(l4t).is_unfinished


def test_an_account_that_was_not_made_is_noticed(l4t: Path, deb: Path, password: Path) -> None:
    (l4t / "tools/l4t_create_default_user.sh").write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(FlashError, match="made no account robot"):
        carry_out(order(l4t, deb, password), FakeHost(), lambda line: None, TinyRunner())


ORPHANS = """
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from jetvla.services.flash.root import RootFilesystem, own_namespaces, run_program
RootFilesystem(Path(sys.argv[1])).on_host("sh", "-c", "mount -t tmpfs tmpfs $0; touch $0/there; sleep 600", sys.argv[2])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root rights for namespaces")
def test_what_a_killed_process_had_begun_ends_with_it(l4t: Path, tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    process = subprocess.Popen([sys.executable, "-c", ORPHANS, str(l4t), str(place)])
    while not (begun := _running(str(place))):
        assert process.poll() is None
    assert not list(place.iterdir())  # its mounts are not this machine's
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while _running(str(place)):
        assert time.monotonic() < deadline, begun
        time.sleep(0.01)


def _running(word: str) -> list[Path]:
    """Processes other than the one that was asked for, with ``word`` on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_text().split("\0")
            if words[0] == "sh" and word in words:
                found.append(path)
    return found


def test_a_jetson_that_was_unplugged_meanwhile_is_not_flashed(l4t: Path, deb: Path, password: Path) -> None:
    host = FakeHost()

    def say(line: str) -> None:
        host.devices = ()

    with pytest.raises(FlashError, match="no Jetson in recovery mode"):
        carry_out(order(l4t, deb, password, flashes=True), host, say, TinyRunner())
    assert not (l4t / "flashed").exists()


def test_a_root_file_system_that_another_process_works_on_is_not_flashed(l4t: Path, deb: Path, password: Path) -> None:
    def say(line: str) -> None:
        (l4t / "rootfs.jetvla-unfinished").touch()

    with pytest.raises(FlashError, match="half customised, or otherwise than asked"):
        carry_out(order(l4t, deb, password, flashes=True), FakeHost(), say, TinyRunner())
    assert not (l4t / "flashed").exists()


def test_nothing_is_touched_when_something_is_refused(l4t: Path, deb: Path, password: Path) -> None:
    before = tree(l4t)
    refused = [
        (order(l4t, deb, password, accepts_license=False), FakeHost(), "ACCEPT_LICENSE=yes"),
        (order(l4t, deb, password), FakeHost(devices=()), "no Jetson"),
        (order(l4t, deb, password, user="Bad Name"), FakeHost(), "no name of an account"),
        (order(l4t, deb.with_name("none.deb"), password), FakeHost(), "there is no package"),
        (order(l4t, make_deb(deb.parent, architecture="amd64"), password), FakeHost(), "and not jetvla for arm64"),
        (order(l4t, make_deb(deb.parent, name="other"), password), FakeHost(), "and not jetvla for arm64"),
        (order(l4t, deb, password.with_name("none")), FakeHost(), "cannot be read"),
    ]
    for wanted, host, reason in refused:
        with pytest.raises(FlashError, match=reason):
            carry_out(wanted, host, lambda line: None, TinyRunner())
    assert tree(l4t) == before


def test_a_bundle_that_the_robot_would_not_run_is_refused(
    l4t: Path, deb: Path, password: Path, signed_bundle: Path
) -> None:
    with pytest.raises(FlashError, match="KEY="):
        carry_out(order(l4t, deb, password, bundle=signed_bundle), FakeHost(), lambda line: None, TinyRunner())
    _, other = create_key_pair("other", signed_bundle.parent / "others")
    with pytest.raises(BundleError, match="not signed by a trusted key"):
        carry_out(
            order(l4t, deb, password, bundle=signed_bundle, key=other), FakeHost(), lambda line: None, TinyRunner()
        )
    assert not (l4t / "rootfs.jetvla-original").exists()


@pytest.mark.parametrize("name", ["robot.pem", "robot"])
def test_a_key_of_any_name_is_trusted_on_the_robot(
    l4t: Path, deb: Path, password: Path, tmp_path: Path, name: str
) -> None:
    _, public = create_key_pair("robot", tmp_path / "keys")
    carry_out(
        order(l4t, deb, password, key=public.rename(tmp_path / name)), FakeHost(), lambda line: None, TinyRunner()
    )
    (trusted,) = load_trusted(l4t / "rootfs/etc/jetvla/trusted.d")
    assert trusted.name == "robot"


def test_what_is_no_public_key_is_refused_without_a_bundle_too(
    l4t: Path, deb: Path, password: Path, tmp_path: Path
) -> None:
    private, _ = create_key_pair("robot", tmp_path / "keys")
    with pytest.raises(ConfigError, match="is not a PEM public key"):
        carry_out(order(l4t, deb, password, key=private), FakeHost(), lambda line: None, TinyRunner())
    assert not (l4t / "rootfs.jetvla-original").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_package_is_the_one_of_this_version(tmp_path: Path) -> None:
    """As text, 0.9.0 is above 0.10.0."""
    root = Path(__file__).parents[3]
    asked = subprocess.run(
        ["make", "-C", root, "--eval", "ask: ; @echo $(DEB)", "--no-print-directory", "ask"],
        check=True,
        capture_output=True,
        text=True,
    )
    version = re.search(r'^version = "(.*)"', (root / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert asked.stdout.strip() == f"build/jetvla_{version[1]}_arm64.deb"


def test_something_mounted_in_the_root_file_system_is_not_removed(
    l4t: Path, deb: Path, password: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 98:0 / {l4t}/rootfs/dev rw - devtmpfs devtmpfs rw\n")
    monkeypatch.setattr("jetvla.services.flash.root._MOUNTS", mounts)
    with pytest.raises(FlashError, match=f"sudo umount {l4t}/rootfs/dev"):
        carry_out(order(l4t, deb, password), FakeHost(), lambda line: None, TinyRunner())
    assert (l4t / "rootfs/etc/os-release").exists()


# The password


def test_the_password_shows_nowhere(
    l4t: Path, deb: Path, password: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    run = TinyRunner()
    carry_out(order(l4t, deb, password, flashes=True), FakeHost(), said.append, run)
    printed = capfd.readouterr()
    everything = "\n".join([*said, printed.out, printed.err, repr(run.calls), repr(passwords.Password(SECRET))])
    assert SECRET not in everything
    assert "Zm9vYmFy" not in everything  # the one that NVIDIA's tool prints
    assert all(SECRET.encode() not in content for content in tree(l4t).values() if isinstance(content, bytes))


def test_a_tool_that_fails_does_not_show_the_password_that_it_drew(l4t: Path, deb: Path, password: Path) -> None:
    tool = l4t / "tools/l4t_create_default_user.sh"
    tool.write_text(tool.read_text() + "exit 7\n")
    with pytest.raises(FlashError, match=r"status 7:\nCreating: Username - robot, Password - \(hidden\)"):
        carry_out(order(l4t, deb, password), FakeHost(), lambda line: None, TinyRunner())


def test_passwords_that_will_not_do(password: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password.chmod(0o640)
    with pytest.raises(FlashError, match="chmod 600"):
        passwords.read_password("robot", password)
    password.chmod(0o600)
    password.write_text("\n")
    with pytest.raises(FlashError, match="is empty"):
        passwords.read_password("robot", password)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(FlashError, match="PASSWORD_FILE="):
        passwords.read_password("robot", None)


def test_a_typed_password_must_be_typed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    typed = iter(["one", "two", "same", "same"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    with pytest.raises(FlashError, match="differ"):
        passwords.read_password("robot", None)
    assert passwords.read_password("robot", None).line_for("robot") == "robot:same\n"


# NVIDIA's tool

OUTPUTS = {
    "arm-host": "./tegrarcm_v2: cannot execute binary file: Exec format error",
    "usb-write": "[   0.2576 ] ERROR: might be timeout in USB write.\nError: Return value 3",
    "no-target": "Error: probing the target board failed.",
    "gadget-renamed": 'sysctl: cannot stat /proc/sys/net/ipv6/conf/usb0/disable_ipv6\nCannot find device "usb0"',
    "rcm-boot": "Waiting for target to boot-up...\nWaiting for target to boot-up...\nTimeout",
    "ssh": "Waiting for device to expose ssh .........Timeout",
    "automounter": "partprobe failed after partitioning /dev/sdb",
}


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda s: s.name)
def test_each_known_failure_is_explained(symptom: object, tmp_path: Path) -> None:
    text = OUTPUTS[symptom.name]  # type: ignore[attr-defined]
    script = tmp_path / "tool.sh"
    script.write_text(f"#!/bin/sh\ncat <<'X'\n{text}\nX\nexit 3\n")
    script.chmod(0o755)
    said: list[str] = []
    with pytest.raises(
        FlashError, match=r"failed with status 3; all of its output is in .*jetvla-flash\.log"
    ) as raised:
        flash(("./tool.sh",), tmp_path, said.append)
    assert str(raised.value).splitlines()[1:] == [f"  - {symptom.remedy}"]  # type: ignore[attr-defined]
    assert "\n".join(said) == text


def test_waiting_is_no_failure_by_itself() -> None:
    assert explain(["Waiting for target to boot-up...", "Waiting for device to expose ssh ......", "Run command"]) == []


def test_the_command_line_refuses_with_status_1(l4t: Path, deb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--board", "toaster", "--l4t", str(l4t), "--deb", str(deb)]) == 1
    assert "BOARD=toaster is not one of jetson-orin-nano-devkit" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed: apt install util-linux")
def test_nothing_is_started_for_a_process_that_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = own_namespaces()
    alive = words[: words.index("unshare")]
    run_program([*alive, "touch", str(tmp_path / "one")])
    assert (tmp_path / "one").exists()
    monkeypatch.setattr(os, "getpid", lambda: 1)
    ended = own_namespaces()[: len(alive)]
    with pytest.raises(FlashError):
        run_program([*ended, "touch", str(tmp_path / "two")])
    assert not (tmp_path / "two").exists()
