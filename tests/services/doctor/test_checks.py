"""Each theme says what is ready, what is not, and what to do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import jetvla.services
from jetvla.runtime.config import load_config
from jetvla.runtime.engine_key import Machine
from jetvla.runtime.errors import MissingDependency
from jetvla.runtime.memory.driver import Gpu
from jetvla.services.cli import main
from jetvla.services.doctor import examination, gpu
from jetvla.services.doctor.accounts import accounts
from jetvla.services.doctor.cameras import cameras
from jetvla.services.doctor.engine import engine
from jetvla.services.doctor.examination import all_ready, examine
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.patient import Patient
from jetvla.services.doctor.power import power
from jetvla.services.doctor.storage import storage
from jetvla.services.doctor.system import System, ask_program
from jetvla.services.doctor.trust import bundle, keys
from jetvla.services.doctor.units import UNITS, units

Put = Callable[[str, str], None]


@pytest.fixture
def put(system: System) -> Put:
    def write(absolute: str, text: str) -> None:
        path = system.path(absolute)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def only(findings: object) -> Finding:
    (finding,) = list(findings)  # type: ignore[call-overload]
    return finding  # type: ignore[no-any-return]


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def change(config: Path, before: str, after: str) -> Path:
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))
    return config


def patient(system: System, config: Path) -> Patient:
    return Patient(system, load_config(config), config)


def test_a_machine_on_which_everything_needed_is_ready(system: System, config: Path) -> None:
    findings = examine(config, system)
    assert [f for f in findings if f.needed and not f.ready] == []
    assert all_ready(findings)


def test_a_wrong_configuration_ends_the_page_with_the_mistake(system: System, config: Path) -> None:
    change(config, "run_dir", "rundir")
    findings = by_name(examine(config, system))
    assert not findings["configuration"].ready
    assert "unknown key" in findings["configuration"].detail
    assert "bundle" not in findings


@pytest.mark.parametrize(
    ("release", "ready", "said"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 1", True, "JetPack 6.1 or 6.2, L4T R36.4.3"),
        ("# R39 (release), REVISION: 2.1, GCID: 1", True, "JetPack 7.2, L4T R39.2.1"),
        ("# R36 (release), REVISION: 3.0, GCID: 1", False, "not known here, L4T R36.3.0"),
        ("# R35 (release), REVISION: 6.1, GCID: 1", False, "L4T R35.6.1"),
        ("nonsense", False, "nonsense"),
    ],
)
def test_jetpack_is_named_and_must_be_new_enough(
    system: System, put: Put, release: str, ready: bool, said: str
) -> None:
    put("/etc/nv_tegra_release", release + "\n")
    finding = only(gpu.jetpack(system))
    assert (finding.ready, finding.needed) == (ready, True)
    assert said in finding.detail


def test_what_is_no_jetson_needs_no_gpu(system: System, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find_gpu", _no_driver)
    change(config, "backend: onnxruntime", "backend: auto")
    found = [
        *gpu.jetpack(system),
        *gpu.cuda(patient(system, config)),
        *gpu.tensorrt(patient(system, config)),
    ]
    assert [finding.needed for finding in found] == [False, False, False]
    assert not found[1].ready
    assert "libcuda.so.1" in found[1].remedy


def test_a_jetson_needs_its_gpu_unless_it_runs_on_the_cpu(
    jetson: System, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "find_gpu", _no_driver)
    assert not only(gpu.cuda(patient(jetson, config))).needed
    change(config, "backend: onnxruntime", "backend: auto")
    assert only(gpu.cuda(patient(jetson, config))).needed
    monkeypatch.setattr(gpu, "find_gpu", lambda: Gpu("Orin", "8.7", "12.6"))
    assert only(gpu.cuda(patient(jetson, config))).detail == "Orin, compute capability 8.7, CUDA 12.6"


@pytest.mark.parametrize(
    ("version", "ready"), [(None, False), ("8.6.2", False), ("10.0.1", False), ("10.3.0", True), ("11.4.0", True)]
)
def test_tensorrt_must_be_new_enough(
    jetson: System, config: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, ready: bool
) -> None:
    monkeypatch.setattr(gpu, "version_of", lambda module, package: version)
    change(config, "backend: onnxruntime", "backend: auto")
    finding = only(gpu.tensorrt(patient(jetson, config)))
    assert (finding.ready, finding.needed) == (ready, True)
    assert (version or "not installed") in finding.detail


def _no_driver() -> Gpu:
    raise MissingDependency("the CUDA driver (libcuda.so.1)", "an engine on a GPU", "sudo apt install nvidia-jetpack")


def test_power_mode_and_clocks_of_a_jetson(jetson: System, put: Put, answers: object) -> None:
    sensors, mode, clocks = power(jetson)
    assert sensors.what == "power and heat"
    assert (mode.ready, clocks.ready) == (False, False)
    answers.known["nvpmodel -q"] = "NV Power Mode: MAXN_SUPER\n2\n"  # type: ignore[attr-defined]
    for cpu in range(2):
        for end in ("min", "max"):
            put(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_{end}_freq", "1728000\n")
    _, mode, clocks = power(jetson)
    assert (mode.ready, mode.detail, clocks.ready) == (True, "MAXN_SUPER (mode 2)", True)
    put("/sys/devices/system/cpu/cpu1/cpufreq/scaling_min_freq", "115200\n")
    clocks = list(power(jetson))[2]
    assert not clocks.ready
    # The unit has no [Install] section: it is started by the target.
    assert clocks.remedy == "sudo jetson_clocks, or sudo systemctl start jetvla-clocks.service"
    assert not clocks.needed


def test_a_power_mode_that_waits_for_a_reboot_is_named(jetson: System, put: Put, answers: object) -> None:
    answers.known["nvpmodel -q"] = "NV Power Mode: 15W\n0\n"  # type: ignore[attr-defined]
    put("/var/lib/nvpmodel/status", "pmode:0000\n")
    put("/run/jetvla-clocks/in-force", "0002\n")
    mode = list(power(jetson))[1]
    assert (mode.ready, mode.needed, mode.remedy) == (False, False, "sudo reboot")
    assert mode.detail == "mode 2 until the reboot that mode 0 needs"


def test_elsewhere_there_are_sensors_at_most(system: System) -> None:
    (sensors,) = power(system)
    assert (sensors.what, sensors.ready, sensors.needed) == ("power and heat", False, False)


def test_the_policys_account_needs_video_and_render(jetson: System, put: Put) -> None:
    put("/etc/passwd", "root:x:0:0::/:/bin/sh\njetvla-policy:x:990:44::/:/bin/false\n")
    put("/etc/group", "root:x:0:\nvideo:x:44:\nrender:x:104:someone\n")
    finding = only(accounts(jetson))
    assert (finding.ready, finding.needed) == (False, True)
    assert finding.detail == "jetvla-policy is not in render"
    assert "--groups render jetvla-policy" in finding.remedy
    put("/etc/group", "root:x:0:\nvideo:x:44:\nrender:x:104:someone,jetvla-policy\n")
    assert only(accounts(jetson)).ready


def test_without_the_service_the_callers_groups_count(
    system: System, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    put("/etc/passwd", "alice:x:1000:1000::/:/bin/sh\n")
    put("/etc/group", "video:x:44:alice\n")
    finding = only(accounts(system))
    assert (finding.ready, finding.needed, finding.detail) == (False, False, "alice is not in render")


def show(load: str = "loaded", enabled: str = "enabled", active: str = "active", **more: str) -> str:
    values = {"LoadState": load, "UnitFileState": enabled, "ActiveState": active, "SubState": "running", **more}
    return "".join(f"{name}={value}\n" for name, value in values.items())


def test_services_that_are_not_installed_are_no_fault(system: System, answers: object) -> None:
    answers.known["systemctl show"] = show(load="not-found")  # type: ignore[attr-defined]
    finding = only(units(system))
    assert (finding.ready, finding.needed) == (False, False)


def test_a_failed_and_a_disabled_service_are_named(system: System, answers: object) -> None:
    known = answers.known  # type: ignore[attr-defined]
    known["systemctl show jetvla-policy"] = show(active="failed", Result="watchdog", NRestarts="4")
    known["systemctl show jetvla-guard"] = show(enabled="disabled", active="inactive")
    known["systemctl show jetvla-health"] = show(load="not-found")
    known["systemctl show jetvla-compile"] = show(StatusText="building 4/8")
    known["systemctl show"] = show(enabled="static")
    found = by_name(list(units(system)))
    assert list(found) == list(UNITS)
    policy = found["jetvla-policy.service"]
    assert policy.detail == "failed (watchdog), restarted 4 times"
    assert "journalctl -u jetvla-policy.service" in policy.remedy
    assert found["jetvla-guard.service"].remedy == "sudo systemctl enable jetvla-guard.service"
    assert found["jetvla-health.service"].detail == "not installed"
    assert found["jetvla-compile.service"].detail == "enabled, active (running): building 4/8"
    ready = {name for name, finding in found.items() if finding.ready}
    assert ready == set(UNITS) - {f"jetvla-{name}.service" for name in ("policy", "guard", "health")}
    assert [name for name, finding in found.items() if not finding.needed] == ["jetvla-metrics.service"]


def test_every_unit_of_the_package_is_looked_at() -> None:
    folder = Path(jetvla.services.__file__).parent / "units"
    assert set(UNITS) == {path.name for kind in ("service", "target") for path in folder.glob(f"*.{kind}")}


def test_keys_that_are_trusted_and_one_that_should_not_be_there(system: System, config: Path, put: Put) -> None:
    (config.parent / "keys/test.key").unlink()
    assert only(keys(patient(system, config))).detail.startswith("test (")
    put("/etc/jetvla/robot.key", "x")
    private = list(keys(patient(system, config)))[1]
    assert private.what == "private keys"
    assert not private.ready
    assert private.detail.endswith("/etc/jetvla/robot.key")
    (config.parent / "keys/test.pub").unlink()
    assert not next(iter(keys(patient(system, config)))).ready


def test_keys_that_may_not_be_read_are_not_called_none(
    system: System, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (config.parent / "keys/test.pub").unlink()
    monkeypatch.setattr(Path, "iterdir", closed)
    monkeypatch.setattr(Path, "glob", lambda path, pattern: iter(()))
    finding = next(f for f in examine(config, system) if f.what == "keys")
    assert finding.detail == f"{config.parent / 'keys'} cannot be looked at: Permission denied"


def test_an_altered_bundle_is_named_and_no_engine_is_looked_for(system: System, config: Path) -> None:
    graph = next((config.parent / "bundle").glob("*.onnx"))
    graph.write_bytes(graph.read_bytes() + b"x")
    assert f"{graph.name} is altered" in only(bundle(patient(system, config))).detail
    assert only(engine(patient(system, config))).detail == "there is no bundle to have one of"


def test_an_engine_is_looked_for_under_this_machines_fingerprint(
    system: System, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert only(engine(patient(system, config))).detail == "none was compiled here"
    other = config.parent / "engines/0123/entry.json"
    other.parent.mkdir(parents=True)
    other.touch()
    finding = only(engine(patient(system, config)))
    assert finding.detail == "none for this bundle, library, driver and power mode"
    assert (finding.ready, finding.needed) == (False, False)
    change(config, "backend: onnxruntime", "backend: tensorrt")
    finding = only(engine(patient(system, config)))
    assert (finding.ready, finding.needed) == (False, True)


def test_a_bundle_for_a_cpu_is_told_on_a_gpu(system: System, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensorrt = SimpleNamespace(name="tensorrt", version=lambda: "10.3.0", machine=Machine.here)
    monkeypatch.setattr("jetvla.services.doctor.engine.load_backend", lambda name: tensorrt)
    found = by_name(list(engine(patient(system, config))))
    assert (found["graphs for a GPU"].ready, found["graphs for a GPU"].needed) == (False, False)
    assert "--target jetson" in found["graphs for a GPU"].remedy
    assert found["engine"].needed


@pytest.mark.parametrize("name", ["robot.yaml", "my robot.yaml"])
def test_the_remedy_for_a_missing_engine_can_be_pasted(system: System, config: Path, name: str) -> None:
    path = config.rename(config.with_name(name))
    remedy = by_name(examine(path, system))["engine"].remedy
    assert shlex.split(remedy) == ["jetvla", "compile", "--config", str(path)]


def test_on_an_appliance_the_service_compiles(
    system: System, config: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("/usr/lib/systemd/system/jetvla-compile.service", "")
    assert only(engine(patient(system, config))).remedy.startswith("jetvla compile --config")
    monkeypatch.setattr("jetvla.services.doctor.engine.DEFAULT_CONFIG", config)
    assert only(engine(patient(system, config))).remedy == "sudo systemctl start jetvla-compile"


@pytest.mark.build
def test_a_compiled_engine_is_found(
    system: System, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    assert main(["compile", "--config", str(config), "--rounds", "2"]) == 0
    finding = only(engine(patient(system, config)))
    assert finding.ready
    assert " on onnxruntime " in finding.detail
    here = Machine.here()
    monkeypatch.setattr(Machine, "here", lambda: replace(here, power_mode="2"))
    finding = only(engine(patient(system, config)))
    assert (finding.ready, finding.needed) == (False, False)
    assert "power_mode: 2, was" in finding.detail


def test_a_camera_that_is_away(system: System, config: Path) -> None:
    change(config, "{kind: video, path: clip.mp4}", "{kind: v4l2, device: /dev/video987}")
    finding = only(cameras(patient(system, config)))
    assert (finding.ready, finding.detail) == (False, "/dev/video987 is not there")


def test_a_full_disk(system: System, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=1.5e9))
    disk = next(iter(storage(patient(system, config))))
    assert not disk.ready
    assert disk.detail.startswith("1.5 GB free at ")


@pytest.mark.parametrize(("paths", "ready"), [("/var/lib/jetvla", False), ("/var/lib/jetvla -{store}", True)])
def test_a_store_that_the_health_service_may_not_write_is_named(
    system: System, config: Path, answers: object, monkeypatch: pytest.MonkeyPatch, paths: str, ready: bool
) -> None:
    store = config.parent / "store"
    config.write_text(config.read_text() + f"store: {store}\n")
    known = answers.known  # type: ignore[attr-defined]
    known["systemctl show jetvla-health"] = f"LoadState=loaded\nReadWritePaths={paths.format(store=store)}\n"
    assert "store" not in by_name(list(storage(patient(system, config))))
    monkeypatch.setattr("jetvla.services.doctor.storage.DEFAULT_CONFIG", config)
    finding = by_name(list(storage(patient(system, config))))["store"]
    assert (finding.ready, finding.needed) == (ready, True)
    assert f"ReadWritePaths={store}" in finding.remedy
    known["systemctl show jetvla-health"] = "LoadState=not-found\n"
    assert "store" not in by_name(list(storage(patient(system, config))))


def test_what_may_not_be_looked_at_is_a_finding(system: System, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/var/lib/jetvla/bundles")

    monkeypatch.setattr("jetvla.services.doctor.trust.Bundle.open", closed)
    finding = by_name(examine(config, system))["bundle"]
    assert not finding.ready
    assert finding.detail == "/var/lib/jetvla/bundles cannot be looked at: Permission denied"
    assert "sudo" in finding.remedy


def test_rclpy_without_messages_is_not_ros(system: System, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jetvla.runtime.ros import installed
    from jetvla.services.doctor.ros import ros

    change(config, "[{kind: log, path: commands.jsonl}]", "[{kind: twist, topic: /doctor_cmd_vel}]")
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == "sensor_msgs" else object())
    (finding,) = ros(patient(system, config))
    assert (finding.ready, finding.detail) == (False, "not installed: sensor_msgs")
    assert "ros-humble-ros-base" in finding.remedy


@pytest.mark.parametrize("packaged", [True, False])
def test_ros_that_came_after_the_services_is_to_be_read_by_them(
    system: System, config: Path, monkeypatch: pytest.MonkeyPatch, packaged: bool
) -> None:
    from jetvla.services.doctor import ros as checks

    monkeypatch.setattr(checks, "missing", lambda: ("rclpy",))
    config.write_text(config.read_text().replace("[{kind: log, path: commands.jsonl}]", "[{kind: twist, topic: /x}]"))
    setup = system.path("/opt/ros/humble/setup.sh")
    setup.parent.mkdir(parents=True)
    setup.touch()
    environment = system.path("/var/lib/jetvla/machine.env")
    environment.parent.mkdir(parents=True)
    system.path("/opt/jetvla/venv" if packaged else "/opt/other").mkdir(parents=True)
    remedy = "sudo systemctl restart jetvla.target" if packaged else f". {setup}"
    for text in (None, "# No ROS 2 in /opt/ros.\n"):
        if text is not None:
            environment.write_text(text)
        (finding,) = checks.ros(patient(system, config))
        assert "is not in the environment yet" in finding.detail
        assert finding.remedy.startswith(remedy)
    environment.write_text('ROS_DISTRO="humble"\n')
    (finding,) = checks.ros(patient(system, config))
    assert finding.detail == "not installed: rclpy"


@pytest.mark.ros
def test_ros_names_the_domain_and_who_listens(system: System, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy")
    from jetvla.runtime.ros.session import RosSession
    from jetvla.services.doctor.ros import ros

    change(config, "[{kind: log, path: commands.jsonl}]", "[{kind: twist, topic: /doctor_cmd_vel}]")
    config.write_text(config.read_text() + "ros: {domain_id: 77}\n")
    first, robot = ros(patient(system, config))
    assert first.ready
    assert first.detail.startswith("domain 77, ")
    assert (robot.ready, robot.needed, robot.detail) == (False, False, "nobody listens")
    from geometry_msgs.msg import Twist

    with RosSession("robot_driver", "", 77) as session:
        session.node.create_subscription(Twist, "/doctor_cmd_vel", lambda message: None, 10)
        first, robot = ros(patient(system, config))
    assert "/robot_driver" in first.detail
    assert (robot.ready, robot.detail) == (True, "listened to by robot_driver")


def test_programs_that_are_missing_or_fail_answer_nothing() -> None:
    assert ask_program(["jetvla-no-such-program"]) is None
    assert ask_program(["false"]) is None
    assert ask_program(["echo", "yes"]) == "yes\n"


def test_the_page_as_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--config", str(config), "--json"])
    page = json.loads(capsys.readouterr().out)
    assert page["ready"] is (status == 0)
    camera = next(f for f in page["findings"] if f["what"] == "camera front")
    assert camera == {
        "what": "camera front",
        "ready": True,
        "detail": str(config.parent / "clip.mp4"),
        "remedy": "",
        "needed": True,
    }


@pytest.mark.parametrize(
    ("output", "needed", "said"),
    [
        ("{kind: gripper, dimension: claw}", True, "'claw' is not an absolute gripper dimension of this bundle"),
        ("{kind: gripper}", False, "no output takes the action dimensions x, y, z, roll, pitch, yaw"),
    ],
)
def test_what_the_guard_would_refuse(system: System, config: Path, output: str, needed: bool, said: str) -> None:
    assert all(f.ready for f in bundle(patient(system, config)))
    change(config, "{kind: log, path: commands.jsonl}", output)
    found = by_name(list(bundle(patient(system, config))))["bundle and configuration"]
    assert (found.ready, found.needed) == (False, needed)
    assert said in found.detail


def test_limits_that_hardly_limit(system: System, config: Path) -> None:
    change(config, "guard: {", "guard: {limits: {frame_age_s: 60}, ")
    found = by_name(list(bundle(patient(system, config))))["limits"]
    assert (found.ready, found.needed) == (False, False)
    assert found.detail.startswith("guard.limits.frame_age_s: 60 is 300 times the default of 0.2 s")


def test_a_check_that_fails_hides_no_other(system: System, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ValueError("no such\n  thing")

    whole = examine(config, system)
    monkeypatch.setattr(examination, "MACHINE", (broken, *examination.MACHINE))
    monkeypatch.setattr(examination, "CONFIGURED", (broken, *examination.CONFIGURED))
    findings = examine(config, system)
    failed = [f for f in findings if f.what == "broken"]
    assert [(f.ready, f.needed, f.detail) for f in failed] == [
        (False, True, "could not be looked at: ValueError: no such thing")
    ] * 2
    assert [f.what for f in findings if f.what != "broken"] == [f.what for f in whole]
