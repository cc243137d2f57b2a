"""Say what is ready on this machine and what is not, each with its remedy.

Exit status 0 when everything that the configuration needs is ready, else 1.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.keys import load_trusted
from jetvla.runtime.ros.session import INSTALL as INSTALL_ROS
from jetvla.runtime.telemetry.power.readiness import power_readiness
from jetvla.services.operator import add_config_option

_FREE_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Finding:
    """One line of the page. ``needed`` findings decide the exit status."""

    what: str
    ready: bool
    detail: str
    remedy: str = ""
    needed: bool = True


def configure(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)


def run(arguments: argparse.Namespace) -> int:
    findings = examine(arguments.config)
    table = Table(box=None, show_header=False)
    for _ in range(4):
        table.add_column(overflow="fold")
    for f in findings:
        mark = "[green]ready[/green]" if f.ready else ("[red]missing[/red]" if f.needed else "[yellow]absent[/yellow]")
        table.add_row(mark, f.what, f.detail, "" if f.ready else f.remedy)
    Console().print(table)
    return 0 if all(f.ready for f in findings if f.needed) else 1


def examine(config_path: Path) -> list[Finding]:
    """Look at the machine, and at what ``config_path`` asks of it."""
    findings = [_python(), *_libraries(), _jetpack(), _tensorrt(), _disk(), _power()]
    try:
        config = load_config(config_path)
    except JetvlaError as error:
        return [*findings, Finding("configuration", False, str(error), f"write or correct {config_path}")]
    findings.append(Finding("configuration", True, str(config_path)))
    checks: tuple[Callable[[Config], Finding], ...] = (_ros, _keys, _bundle, _run_dir)
    return [*findings, *(check(config) for check in checks), *_cameras(config)]


def _python() -> Finding:
    return Finding("python", True, f"{platform.python_version()} on {platform.machine()}")


def _libraries() -> list[Finding]:
    names = {
        "numpy": "numpy",
        "onnxruntime": "onnxruntime",
        "tokenizers": "tokenizers",
        "cv2": "opencv-python-headless",
        "av": "av",
    }
    return [_library(module, package) for module, package in names.items()]


def _library(module: str, package: str) -> Finding:
    if find_spec(module) is None:
        return Finding(package, False, "not installed", f"pip install {package}")
    try:
        return Finding(package, True, importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return Finding(package, True, "installed by the system")


def _jetpack() -> Finding:
    release = Path("/etc/nv_tegra_release")
    if release.is_file():
        return Finding("jetpack", True, release.read_text().splitlines()[0].lstrip("# "), needed=False)
    return Finding(
        "jetpack", False, "this is no Jetson", "engines run on ONNX Runtime's CPU kernels here", needed=False
    )


def _tensorrt() -> Finding:
    if find_spec("tensorrt") is None:
        return Finding("tensorrt", False, "not installed", "on a Jetson: apt install python3-libnvinfer", needed=False)
    return Finding("tensorrt", True, importlib.metadata.version("tensorrt"), needed=False)


def _disk() -> Finding:
    free = shutil.disk_usage("/").free
    return Finding("disk", free > _FREE_BYTES, f"{free / 1e9:.1f} GB free", "free 2 GB for bundles and engines")


def _power() -> Finding:
    found = power_readiness()
    return Finding("power and heat", found.ready, found.detail, found.remedy, needed=False)


def _ros(config: Config) -> Finding:
    if not config.uses_ros:
        return Finding("ROS 2", True, "not asked for by the configuration")
    if find_spec("rclpy") is None:
        return Finding("ROS 2", False, "rclpy is not installed", INSTALL_ROS)
    domain = config.ros.domain_id if config.ros.domain_id is not None else os.environ.get("ROS_DOMAIN_ID", "0")
    return Finding("ROS 2", True, f"rclpy is there; domain {domain}")


def _keys(config: Config) -> Finding:
    try:
        keys = load_trusted(config.trusted)
    except JetvlaError as error:
        return Finding("trusted keys", False, str(error), f"copy a .pub file into {config.trusted}")
    names = ", ".join(f"{k.name} ({k.id})" for k in keys)
    return Finding("trusted keys", bool(keys), names or "none", f"copy a .pub file into {config.trusted}")


def _bundle(config: Config) -> Finding:
    try:
        bundle = Bundle.open(config.bundle, load_trusted(config.trusted))
    except JetvlaError as error:
        return Finding("bundle", False, str(error), "make one with 'jetvla build', and sign it")
    m = bundle.manifest
    detail = f"{m.name} version {m.version}: {', '.join(m.step_precisions)}"
    missing = [c.name for c in m.cameras if c.name not in config.cameras]
    return Finding("bundle", not missing, detail, f"configure the cameras {', '.join(missing)}")


def _run_dir(config: Config) -> Finding:
    exists = config.run_dir.is_dir()
    ready = os.access(config.run_dir if exists else config.run_dir.parent, os.W_OK)
    return Finding("run directory", ready, str(config.run_dir), "make it writable for this user, or set run_dir")


def _cameras(config: Config) -> list[Finding]:
    findings = []
    for name, camera in config.cameras.items():
        if camera.kind == "ros":
            findings.append(Finding(f"camera {name}", True, f"topic {camera.topic}, not looked at"))
            continue
        place = Path(camera.device) if camera.kind == "v4l2" else camera.path
        findings.append(Finding(f"camera {name}", place.exists(), str(place), "connect it, or correct the path"))
    return findings
