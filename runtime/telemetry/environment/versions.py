"""Versions of the packages that decide results and speed."""

from __future__ import annotations

import importlib.metadata
from importlib.util import find_spec

from jetvla.runtime.telemetry.environment.record import Missing

# By module, the names under which it is distributed.
PACKAGES = {
    "jetvla": ("jetvla",),
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorrt": ("tensorrt",),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "rclpy": ("rclpy", "ros-rclpy"),
}


def installed() -> tuple[tuple[tuple[str, str], ...], tuple[Missing, ...]]:
    """(module, version) of those that are installed, and why the others are not there; imports none."""
    versions, missing = [], []
    for module, distributions in PACKAGES.items():
        if (version := _version(distributions)) is not None:
            versions.append((module, version))
        else:
            why = "not installed" if find_spec(module) is None else "installed without a version"
            missing.append(Missing(f"versions.{module}", why))
    return tuple(versions), tuple(missing)


def _version(distributions: tuple[str, ...]) -> str | None:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
