"""On what machine, and with what, something was measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

_LIBRARIES = ("onnxruntime", "torch", "transformers", "numpy", "opencv-python-headless", "pillow", "rclpy")
# What decides how fast integers are multiplied, as /proc/cpuinfo names it.
_INTEGERS = {"avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX VNNI", "amx_int8": "AMX", "i8mm": "I8MM", "asimddp": "DOT"}


@dataclass(frozen=True)
class MachineReport:
    """``integers``: names of the instructions for INT8 that the processor has; ``versions``: name and version."""

    processor: str
    cores: int
    memory_gb: float
    integers: tuple[str, ...]
    kernel: str
    versions: tuple[tuple[str, str], ...]

    @classmethod
    def here(cls, root: Path = Path("/")) -> MachineReport:
        """This machine."""
        cpuinfo = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
        flags = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
        has = set(flags[1].split()) if flags else set()
        kilobytes = int((root / "proc/meminfo").read_text(encoding="ascii").split("MemTotal:")[1].split()[0])
        return cls(
            processor=model[1] if model else platform.machine(),
            cores=len(os.sched_getaffinity(0)),
            memory_gb=kilobytes * 1024 / 1e9,
            integers=tuple(name for flag, name in _INTEGERS.items() if flag in has),
            kernel=platform.release(),
            versions=(("Python", platform.python_version()), *_versions()),
        )

    @property
    def has_amx(self) -> bool:
        return _INTEGERS["amx_int8"] in self.integers

    def __str__(self) -> str:
        integers = f"with {' and '.join(self.integers)}" if self.integers else "without instructions for INT8"
        if not self.has_amx:
            integers += ", without AMX"
        versions = ", ".join(f"{name} {version}" for name, version in self.versions)
        return (
            f"{self.processor} {integers}, {self.cores} cores, {self.memory_gb:.0f} GB; Linux {self.kernel}; {versions}"
        )


def _versions() -> list[tuple[str, str]]:
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    return [(name, installed[name]) for name in _LIBRARIES if name in installed]
