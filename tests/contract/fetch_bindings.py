"""Downloads what NVIDIA publishes and tests hold our code against: python fetch_bindings.py FOLDER

The bindings of TensorRT alone, a few megabytes each, without the libraries behind them; and TensorRT for RTX whole,
96 MB, which builds plans without a GPU. What is there already is not fetched again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# TensorRT's version: the package. The versions are those of JetPack 6.1, 7.0, 7.2 and its option.
TENSORRT = {
    "10.3.0": "tensorrt-cu12-bindings",
    "10.13.3.9": "tensorrt-cu13-bindings",
    "10.16.1.11": "tensorrt-cu13-bindings",
    "11.4.0.106": "tensorrt-cu13-bindings",
}
# The oldest with the module cuda.bindings, and the newest at the time of writing; CUDA 12 and 13.
CUDA = {"12.8.0": "cuda-bindings", "13.5.0": "cuda-bindings"}
# Its libraries build for any GPU of theirs, and for none that is there.
RTX = {"1.7.1.116": "tensorrt-rtx-cu13-bindings"}
NEEDED = {
    "cuda-bindings": ["cuda-pathfinder==1.9.0"],
    "tensorrt-rtx-cu13-bindings": ["tensorrt-rtx-cu13-libs==1.7.1.116"],
}


def folder_of(root: Path, package: str, version: str) -> Path:
    """Where a package lies under ``root``; it is whole if it is there."""
    return root / f"{package}-{version}"


def main(root: Path) -> int:
    root.mkdir(parents=True, exist_ok=True)
    failed = 0
    for version, package in {**TENSORRT, **CUDA, **RTX}.items():
        place = folder_of(root, package, version)
        if not place.is_dir():
            failed += not _fetch(place, [f"{package}=={version}", *NEEDED.get(package, [])])
    return 1 if failed else 0


def _fetch(place: Path, packages: list[str]) -> bool:
    partial = place.with_name(f".{place.name}.partial")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    options = ["--no-deps", "--only-binary", ":all:", "--upgrade", "--target", str(partial)]
    fetched = subprocess.run([*pip, *options, *packages], check=False).returncode == 0
    if fetched:
        partial.rename(place)
    return fetched


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
