"""Python and the libraries that a policy cannot run without."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from importlib.util import find_spec

from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.system import System

LIBRARIES = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
    "cv2": "opencv-python-headless",
    "av": "av",
}


def libraries(_: System) -> Iterator[Finding]:
    yield Finding("python", True, f"{platform.python_version()} on {platform.machine()}")
    for module, package in LIBRARIES.items():
        version = version_of(module, package)
        yield Finding(package, version is not None, version or "not installed", f"pip install {package}")


def version_of(module: str, package: str) -> str | None:
    """None where ``module`` cannot be imported; what apt installed may carry no version."""
    if find_spec(module) is None:
        return None
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "installed by the system"
