"""The environment of a measurement is read from trees of files; what is not there is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jetvla.runtime.errors import EngineError, TelemetryError
from jetvla.runtime.memory import Gpu
from jetvla.runtime.telemetry.environment import Clocks, Environment, read_environment

# Lines of Jetson Linux's own files, as in its documentation and in test_engine_key.py.
JETSON = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0",
    "proc/cpuinfo": (
        "processor\t: 0\nFeatures\t: fp asimd asimddp asimdhp\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        "CPU variant\t: 0x0\nCPU part\t: 0xd42\n"
    ),
    "proc/loadavg": "0.52 0.58 0.59 1/467 12345\n",
    "sys/module/nvidia/version": "540.4.0\n",
    "usr/local/cuda/version.json": '{"cuda": {"name": "SDK", "version": "12.6.11"}}',
    "var/lib/dpkg/status": (
        "Package: nvidia-jetpack-dev\nStatus: install ok installed\nVersion: 6.2+b1\n\n"
        "Package: nvidia-jetpack\nStatus: install ok installed\nDescription: NVIDIA Jetpack Meta Package\n"
        " Version: of nothing\nVersion: 6.2+b77\n\nPackage: zip\nStatus: install ok installed\nVersion: 3.0\n"
    ),
    "var/lib/nvpmodel/status": "pmode:0002\nfmode:fanNull\n",
}
XEON = {
    "proc/cpuinfo": "model name\t: Intel(R) Xeon(R) Gold 6430\nflags\t\t: fpu avx2 amx_int8 avx512_vnni\n",
    "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA L4\nIRQ:   \t\t 42\n",
}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, said in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(said)
    return root


def nvpmodel(root: Path, script: str) -> Path:
    program = write(root, {"usr/sbin/nvpmodel": f"#!/bin/sh\n{script}\n"}) / "usr/sbin/nvpmodel"
    program.chmod(0o755)
    return root


def no_gpu() -> Gpu:
    raise EngineError("no CUDA device can be used")


def orin_gpu() -> Gpu:
    return Gpu("Orin", "8.7", "12.6")


def why(environment: Environment, what: str) -> str:
    return next(missing.why for missing in environment.missing if missing.what == what)


@pytest.fixture
def jetson(orin: Path) -> Environment:
    root = nvpmodel(write(orin, JETSON), 'test "$1" = -q && printf "NV Power Mode: 15W\\n2\\n"')
    return read_environment(root, orin_gpu)


def test_a_jetson_is_told_whole(jetson: Environment) -> None:
    machine = jetson.machine
    assert (machine.jetpack, machine.driver, machine.cuda) == ("R36 (release), REVISION: 4.3", "540.4.0", "12.6.11")
    assert (machine.gpu, machine.compute_capability, machine.power_mode) == ("Orin", "8.7", "0002")
    assert machine.cpu.split()[1:] == ["asimd", "asimddp", "asimdhp"]
    assert jetson.jetson == "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"
    assert (jetson.jetpack, jetson.power_mode) == ("6.2+b77", "15W")
    assert jetson.cpu_model == "Arm implementer 0x41 part 0xd42"
    assert jetson.cpu == Clocks("schedutil", 729.6, 1728, 1728)
    assert jetson.gpu == Clocks("nvhost_podgov", 306, 1020, 612)
    assert [t.zone for t in jetson.temperatures] == ["cpu-thermal", "tj-thermal"]
    assert jetson.throttling is not None
    assert jetson.load == 0.52
    assert jetson.cores >= 1


def test_of_a_jetson_only_what_arm_does_not_tell_is_missing(jetson: Environment) -> None:
    missing = [m.what for m in jetson.missing if not m.what.startswith("versions.")]
    assert missing == ["hypervisor"]
    assert jetson.hypervisor is None


def test_where_nothing_is_everything_is_missing_with_its_reason(tmp_path: Path) -> None:
    environment = read_environment(tmp_path, no_gpu)
    missing = {m.what for m in environment.missing if not m.what.startswith("versions.")}
    machine = {f"machine.{name}" for name in ("gpu", "cuda", "driver", "jetpack", "power_mode")}
    assert missing == machine | {
        *("power_mode", "cpu_model", "cpu", "gpu", "jetson", "jetpack", "temperatures", "throttling", "load"),
        "hypervisor",
    }
    assert all(m.why for m in environment.missing)
    assert why(environment, "machine.gpu") == "no CUDA device can be used"


def test_a_gpu_that_cuda_cannot_use_is_named_by_the_kernel(xeon: Path) -> None:
    environment = read_environment(write(xeon, XEON), no_gpu)
    assert environment.machine.gpu == "NVIDIA L4"
    assert why(environment, "machine.compute_capability") == "no CUDA device can be used"
    assert environment.cpu_model == "Intel(R) Xeon(R) Gold 6430"
    assert environment.machine.cpu.split()[1:] == ["amx_int8", "avx2", "avx512_vnni"]
    assert environment.hypervisor is False


def test_a_virtual_machine_is_told(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/cpuinfo": "model name\t: Virtual\nflags\t\t: fpu hypervisor avx2\n"})
    assert read_environment(root, no_gpu).hypervisor is True


def test_a_governor_that_not_all_cores_have_is_told(orin: Path) -> None:
    (orin / "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor").write_text("performance\n")
    assert read_environment(orin, no_gpu).cpu.governor == "performance, schedutil"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'NVPM ERROR: no access' >&2; exit 2", "ended with status 2 and said NVPM ERROR: no access"),
        ("exit 0", "ended with status 0 and said nothing"),
    ],
)
def test_a_power_mode_that_is_not_told_has_its_reason(tmp_path: Path, script: str, reason: str) -> None:
    environment = read_environment(nvpmodel(tmp_path, script), no_gpu)
    assert environment.power_mode is None
    assert why(environment, "power_mode") == f"'nvpmodel -q' {reason}"


def test_an_nvpmodel_that_hangs_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetvla.runtime.nvpmodel._ANSWER_S", 0.1)
    environment = read_environment(nvpmodel(tmp_path, "exec sleep 600"), no_gpu)
    assert "did not answer" in why(environment, "power_mode")


def test_a_power_mode_that_only_nvpmodel_tells_gets_its_number(tmp_path: Path) -> None:
    said = "NV Fan Mode:quiet\\nNV Power Mode: MAXN\\n0\\n"
    environment = read_environment(nvpmodel(tmp_path, f'printf "{said}"'), no_gpu)
    assert (environment.power_mode, environment.machine.power_mode) == ("MAXN", "0000")


def test_the_power_mode_in_force_until_a_reboot_is_told(tmp_path: Path) -> None:
    root = nvpmodel(tmp_path, 'printf "NV Power Mode: MAXN\\n0\\n"')
    write(root, {"etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=15W >\n"})
    write(root, {"var/lib/nvpmodel/status": "pmode:0000\n", "run/jetvla-clocks/in-force": "0001\n"})
    environment = read_environment(root, no_gpu)
    assert (environment.power_mode, environment.machine.power_mode) == ("15W", "0001")
    (root / "etc/nvpmodel.conf").unlink()
    assert why(read_environment(root, no_gpu), "power_mode") == "/etc/nvpmodel.conf does not name mode 1"


def test_a_package_that_was_removed_is_not_installed(tmp_path: Path) -> None:
    removed = "Package: nvidia-jetpack\nStatus: deinstall ok config-files\nVersion: 6.2\n"
    root = write(tmp_path, {"var/lib/dpkg/status": removed})
    assert read_environment(root, no_gpu).jetpack is None


def test_versions_of_what_is_installed_and_of_nothing_else(tmp_path: Path) -> None:
    environment = read_environment(tmp_path, no_gpu)
    versions = dict(environment.versions)
    missing = {m.what.removeprefix("versions.") for m in environment.missing if m.what.startswith("versions.")}
    assert {"jetvla", "numpy", "onnxruntime"} <= versions.keys()
    assert versions.keys() | missing == {"jetvla", "numpy", "onnxruntime", "tensorrt", "cv2", "rclpy"}
    assert not versions.keys() & missing


def test_this_very_machine_can_be_read() -> None:
    environment = read_environment()
    assert environment.machine.cpu
    assert environment.kernel
    assert environment.python in environment.describe()


def test_json_there_and_back(jetson: Environment, tmp_path: Path) -> None:
    for environment in (jetson, read_environment(tmp_path / "empty", no_gpu), read_environment()):
        assert Environment.from_dict(json.loads(json.dumps(environment.as_dict()))) == environment


@pytest.mark.parametrize(
    ("spoil", "place"),
    [({"cores": "8"}, "cores"), ({"machine": {"gpu": 1}}, "machine.gpu"), ({"versions": [["numpy"]]}, "versions.0")],
)
def test_a_record_that_does_not_fit_is_named_with_its_place(
    jetson: Environment, spoil: dict[str, object], place: str
) -> None:
    with pytest.raises(TelemetryError, match=f"no environment of this version: {place}"):
        Environment.from_dict(jetson.as_dict() | spoil)


@pytest.mark.parametrize("values", [None, [], "text", {}])
def test_what_is_no_record_is_refused(values: object) -> None:
    with pytest.raises(TelemetryError, match="no environment of this version"):
        Environment.from_dict(values)


def test_a_description_for_people(jetson: Environment) -> None:
    assert jetson.describe().startswith("NVIDIA Jetson Orin NX Engineering Reference Developer Kit, Arm implementer")
    assert ", Orin, power mode 15W, Linux " in jetson.describe()
