"""The units, as systemd itself reads and rates them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jetvla.runtime.limits_config import MAX_STOP_S
from jetvla.runtime.nvpmodel import IN_FORCE
from jetvla.services.firstboot import DROP_IN, ENVIRONMENT, drop_ins
from jetvla.services.firstboot import UNITS as DROP_INS

UNITS = Path(__file__).parents[2] / "services/units"
SERVICES = sorted(path.stem for path in UNITS.glob("*.service"))
# Exposure at most, of 100; a unit without any hardening has 96.
EXPOSURE = 30
# jetson_clocks and nvpmodel write to /sys and to devices, and nvpmodel may load modules; nobody but NVIDIA knows what
# else they need.
EXPOSURES = {"jetvla-clocks": 40}
# What systemd 249, that of JetPack 6, does not know.
TOO_NEW = ("notify-reload", "ExitType=", "OpenFile=", "RestartSteps=", "RestartMaxDelaySec=", "MemoryZSwapMax=")


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed: apt install systemd")
    return found


@pytest.fixture
def placed(tmp_path: Path) -> Path:
    """The units, with a Python that is there on this machine."""
    for unit in UNITS.glob("jetvla*.[st]*"):
        text = unit.read_text().replace("/opt/jetvla/venv/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def ran(*command: str | Path, **environment: str) -> str:
    process = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment or None, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


def test_systemd_finds_nothing_to_complain_about(analyze: str, placed: Path) -> None:
    units = sorted(unit for kind in ("service", "target") for unit in placed.glob(f"*.{kind}"))
    assert len(units) == 8
    said = ran(analyze, "verify", "--man=no", *units, SYSTEMD_UNIT_PATH=f"{placed}:", PATH="/usr/bin:/bin")
    assert "jetvla" not in said


def test_a_device_that_is_not_there_is_nothing_to_complain_about(analyze: str, placed: Path) -> None:
    online = placed / "machine/sys/devices/system/cpu/online"
    online.parent.mkdir(parents=True)
    online.write_text("0-3,6\n")
    place = Path("jetvla-policy.service.d") / DROP_IN
    drop_in, former = placed / place, placed / "machine" / DROP_INS / place
    for path in (drop_in, former):
        path.parent.mkdir(parents=True)
    former.write_text("DeviceAllow=/dev/nvgpu/none/ctrl rw\n")
    drop_in.write_text(drop_ins(placed / "machine")[DROP_INS / place])
    assert "CPUAffinity=0 1 2 3\nDeviceAllow=/dev/nvgpu/none/ctrl rw\n" in drop_in.read_text()
    unit = placed / "jetvla-policy.service"
    said = ran(analyze, "verify", "--man=no", unit, SYSTEMD_UNIT_PATH=f"{placed}:", PATH="/usr/bin:/bin")
    assert "jetvla" not in said
    drop_in.write_text(drop_in.read_text() + "CPUAffinity=none\n")
    said = ran(analyze, "verify", "--man=no", unit, SYSTEMD_UNIT_PATH=f"{placed}:", PATH="/usr/bin:/bin")
    assert DROP_IN in said


# As JetPack has them, as far as their order goes.
JETPACK = {
    "nvfb.service": "",
    "nv.service": "After=nvfb.service",
    "nvpower.service": "After=systemd-modules-load.service",
    "nvpmodel.service": "After=nv.service nvpower.service",
}


def test_beside_jetpacks_own_units_no_order_is_a_circle(analyze: str, placed: Path) -> None:
    wants = placed / "multi-user.target.wants"
    wants.mkdir()
    for name, order in JETPACK.items():
        text = f"[Unit]\nDescription={name}\n{order}\n[Service]\nType=oneshot\nExecStart=/bin/true\n"
        (placed / name).write_text(text)
        (wants / name).symlink_to(placed / name)
    (wants / "jetvla.target").symlink_to(placed / "jetvla.target")
    units = [*sorted(placed.glob("*.service")), placed / "jetvla.target", "multi-user.target"]
    said = ran(analyze, "verify", "--man=no", *units, SYSTEMD_UNIT_PATH=f"{placed}:", PATH="/usr/bin:/bin")
    assert not re.search("jetvla|cycle", said), said


def setting(unit: str, name: str) -> list[str]:
    """Every value of a setting, in the order of the file."""
    return re.findall(rf"^{name}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)


def test_the_machine_is_looked_at_when_its_power_mode_is_set_and_before_it_is_used() -> None:
    after, before = (setting("jetvla-firstboot.service", name)[0].split() for name in ("After", "Before"))
    assert {"nv.service", "nvpmodel.service", "jetvla-clocks.service"} <= set(after)
    assert {"jetvla-compile.service", "jetvla-guard.service", "jetvla-policy.service"} <= set(before)


def test_the_machine_is_looked_at_anew_whenever_the_target_is_started() -> None:
    """ROS 2 may have come meanwhile; what remains active is not started again."""
    assert setting("jetvla-firstboot.service", "Type") == ["oneshot"]
    assert setting("jetvla-firstboot.service", "RemainAfterExit") == []
    assert "jetvla-firstboot.service" in " ".join(setting("jetvla.target", "Wants"))


def test_no_service_looks_for_modules_where_others_than_root_may_write() -> None:
    """``python -m`` takes those of the current directory first; systemd's is / by default."""
    for unit in UNITS.glob("*.service"):
        assert setting(unit.name, "WorkingDirectory") == [], unit.name


JETSON_CLOCKS = """\
#!/bin/sh
echo "$*" >> calls
if [ "$1" = --store ]; then test ! -e "$2" && touch "$2"; fi
"""


def test_clocks_can_be_set_restored_and_set_again(tmp_path: Path) -> None:
    """jetson_clocks asks before it overwrites a file, and the folder outlives the service."""
    program = tmp_path / "jetson_clocks"
    program.write_text(JETSON_CLOCKS)
    program.chmod(0o755)
    (tmp_path / "jetvla-clocks").mkdir()
    starts, stops, after = (setting("jetvla-clocks.service", n) for n in ("ExecStart", "ExecStop", "ExecStopPost"))
    for line in [*starts[1:], *stops, *after] * 2:
        command = line.replace("/run/jetvla-clocks", f"{tmp_path}/jetvla-clocks")
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        subprocess.run(["/bin/sh", "-c", command], env=environment, cwd=tmp_path, check=True)
    store, restore = (f"--{what} {tmp_path}/jetvla-clocks/before" for what in ("store", "restore"))
    assert (tmp_path / "calls").read_text().splitlines() == [store, "", restore] * 2


def test_the_power_mode_in_force_is_known_as_long_as_the_boot_lasts() -> None:
    unit = "jetvla-clocks.service"
    assert f"/run/{setting(unit, 'RuntimeDirectory')[0]}" == f"/{IN_FORCE.parent}"
    assert setting(unit, "RuntimeDirectoryPreserve") == ["yes"]
    assert setting(unit, "RuntimeDirectoryMode") == []


def test_without_a_power_mode_its_program_gets_an_empty_one() -> None:
    text = (UNITS / "jetvla-clocks.service").read_text()
    assert setting("jetvla-clocks.service", "ExecStart")[0].endswith(" ${JETVLA_POWER_MODE}")
    assert text.index("\nEnvironment=JETVLA_POWER_MODE=\n") < text.index("\nEnvironmentFile=")


def threshold(name: str) -> str:
    return f"--threshold={EXPOSURES.get(name, EXPOSURE)}"


@pytest.mark.parametrize("name", SERVICES)
def test_it_is_hardened(analyze: str, placed: Path, name: str) -> None:
    ran(analyze, "security", "--offline=yes", threshold(name), placed / f"{name}.service")


@pytest.mark.parametrize("name", SERVICES)
def test_the_threshold_can_be_missed(analyze: str, placed: Path, name: str) -> None:
    unit = placed / f"{name}.service"
    hardening = ("CapabilityBoundingSet", "Restrict", "Protect", "Private", "SystemCall", "NoNew", "Device", "User")
    lines = [line for line in unit.read_text().splitlines() if not line.startswith(hardening)]
    unit.write_text("\n".join(lines) + "\n")
    command = [analyze, "security", "--offline=yes", threshold(name), str(unit)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda path: path.name)
def test_the_oldest_systemd_knows_every_setting(unit: Path) -> None:
    text = unit.read_text()
    assert [setting for setting in TOO_NEW if setting in text] == []


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda path: path.name)
def test_what_it_starts_is_there(unit: Path) -> None:
    for module in re.findall(r"-m (jetvla\.services\S*)", unit.read_text()):
        if module.endswith("health_daemon") and importlib.util.find_spec(module) is None:
            pytest.skip("this jetvla has no health daemon yet")
        assert importlib.util.find_spec(module) is not None, module


def test_firstboot_may_write_where_it_writes_and_sees_the_devices() -> None:
    unit = "jetvla-firstboot.service"
    writable = setting(unit, "ReadWritePaths")[0].split()
    assert set(writable) == {f"/{DROP_INS}", f"/{ENVIRONMENT.parent}"}
    assert setting(unit, "PrivateDevices") == []


def test_what_sets_the_clocks_may_reach_them() -> None:
    text = (UNITS / "jetvla-clocks.service").read_text()
    for hides in ("PrivateDevices", "DevicePolicy", "DeviceAllow", "ProtectClock", "ProtectKernelTunables"):
        assert hides not in text, hides
    assert setting("jetvla-clocks.service", "ProtectSystem") == ["full"], "/var/lib/nvpmodel is written to"


@pytest.mark.parametrize("name", ["guard", "policy", "health"])
def test_systemd_listens_to_those_who_tell_what_they_do(name: str) -> None:
    unit = f"jetvla-{name}.service"
    assert (setting(unit, "Type"), setting(unit, "NotifyAccess")) == (["notify"], ["main"])


def test_the_guard_may_not_touch_the_gpu_and_the_policy_may() -> None:
    guard, policy = ((UNITS / f"jetvla-{name}.service").read_text() for name in ("guard", "policy"))
    assert "PrivateDevices=yes" in guard
    assert "video" not in guard
    assert "SupplementaryGroups=video render" in policy


def test_the_package_starts_them_all_and_only_by_the_target() -> None:
    target = (UNITS / "jetvla.target").read_text()
    for unit in UNITS.glob("*.service"):
        assert unit.name in target
        assert "[Install]" not in unit.read_text()
        assert "PartOf=jetvla.target" in unit.read_text()


def test_the_guard_has_time_for_the_longest_stop_that_may_be_configured() -> None:
    assert setting("jetvla-guard.service", "TimeoutStopSec") == [f"{2 * MAX_STOP_S:g}"]
