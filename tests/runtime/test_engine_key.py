"""An engine's key changes with anything that could change its result."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from jetvla.runtime.engine_key import EngineKey, Machine

KEY = EngineKey("ab" * 32, "onnxruntime", "1.32.0", Machine(cpu="x86_64 avx2"), (("threads", "1"),))

JETSON = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
    "usr/local/cuda/version.json": '{"cuda": {"name": "SDK", "version": "12.6.11"}, "nvcc": {"version": 1}}',
    "sys/module/nvidia/version": "540.4.0\n",
    "var/lib/nvpmodel/status": "pmode:0002\nfmode:fanNull\n",
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd crc32 asimddp asimdhp\n\nFeatures\t: sve\n",
}


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_digest_is_32_bytes_and_the_same_every_time() -> None:
    assert len(KEY.digest()) == 32
    assert replace(KEY).digest() == KEY.digest()


def test_every_field_counts() -> None:
    others = [replace(KEY, **{f.name: "other"}) for f in fields(EngineKey) if f.name not in ("machine", "options")]
    others += [replace(KEY, machine=replace(KEY.machine, **{f.name: "other"})) for f in fields(Machine)]
    others += [replace(KEY, options=()), replace(KEY, options=(("threads", "2"),))]
    digests = {key.digest() for key in (KEY, *others)}
    assert len(digests) == 1 + len(others) == 1 + 3 + 7 + 2


def test_a_jetson_is_recognised(tmp_path: Path) -> None:
    machine = Machine.here(written(tmp_path, JETSON))
    assert machine.jetpack == "R36 (release), REVISION: 4.3"
    assert (machine.cuda, machine.driver, machine.power_mode) == ("12.6.11", "540.4.0", "0002")
    assert machine.cpu.split()[1:] == ["asimd", "asimddp", "asimdhp"]


def test_the_power_mode_in_force_until_a_reboot_counts(tmp_path: Path) -> None:
    root = written(tmp_path, JETSON | {"run/jetvla-clocks/in-force": "0001\n"})
    assert Machine.here(root).power_mode == "0001"
    (root / "run/jetvla-clocks/in-force").unlink()
    assert Machine.here(root).power_mode == "0002"


def test_a_machine_without_any_of_it_has_empty_strings(tmp_path: Path) -> None:
    machine = Machine.here(tmp_path)
    assert (machine.cuda, machine.driver, machine.jetpack, machine.gpu, machine.power_mode) == ("",) * 5
    assert machine.cpu


def test_intel_flags_are_read(tmp_path: Path) -> None:
    root = written(tmp_path, {"proc/cpuinfo": "flags\t\t: fpu avx2 amx_int8 sse4_2 avx512_vnni\n"})
    assert Machine.here(root).cpu.split()[1:] == ["amx_int8", "avx2", "avx512_vnni"]
