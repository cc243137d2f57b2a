"""What a compiled or self-tested engine is valid for: change any of it and the engine is another one."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from jetvla.runtime.nvpmodel import mode_at_boot, mode_until_reboot

# Extensions that decide which kernels a library picks, as /proc/cpuinfo names them on x86-64 and aarch64.
_INSTRUCTION_SETS = {
    *(
        "avx2",
        "avx_vnni",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "avx512_fp16",
        "amx_tile",
        "amx_int8",
        "amx_bf16",
    ),
    *("asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2"),
}

# Fields of a machine that change while its hardware, and the inference library, stay what they are.
PASSING = ("cuda", "driver", "jetpack", "power_mode")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where an engine runs. What does not apply, or is not installed, is an empty string."""

    cuda: str = ""
    driver: str = ""
    jetpack: str = ""
    gpu: str = ""
    compute_capability: str = ""
    cpu: str = ""
    power_mode: str = ""

    @classmethod
    def here(cls, root: Path = Path("/")) -> Machine:
        """Read this machine's files; a GPU's name and compute capability are its backend's to fill in."""
        return cls(
            cuda=_match(root / "usr/local/cuda/version.json", r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([^"]+)"'),
            driver=_match(root / "sys/module/nvidia/version", r"(\S+)"),
            jetpack=_match(root / "etc/nv_tegra_release", r"# (R\d+ \(release\), REVISION: [\d.]+)"),
            cpu=_instruction_set(root / "proc/cpuinfo"),
            power_mode=mode_until_reboot(root) or mode_at_boot(root),
        )


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Identity of an engine.

    Attributes:
        graph: SHA-256 of the ONNX file, hexadecimal.
        backend: its name in the table of backends.
        backend_version: version of its library.
        machine: where it runs.
        options: build options as sorted (name, value) pairs.
    """

    graph: str
    backend: str
    backend_version: str
    machine: Machine
    options: tuple[tuple[str, str], ...] = ()

    def digest(self) -> bytes:
        """32 bytes: SHA-256 of the fields as JSON with sorted keys."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).digest()


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _match(path: Path, pattern: str) -> str:
    found = re.search(pattern, _read(path))
    return found.group(1) if found else ""


def _instruction_set(cpuinfo: Path) -> str:
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", _read(cpuinfo), re.MULTILINE)
    flags = set(found.group(1).split()) if found else set()
    return " ".join([platform.machine(), *sorted(flags & _INSTRUCTION_SETS)])
