"""The package on a kernel of its own, emulated: ``make appliance-vm``.

A real V4L2 driver (``vivid``) is the camera, the units' limits are the kernel's, and the disk has a journal. No speed
that is seen here means anything.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import root
from .conftest import CACHE, give_bundle, signed
from .machine import GUARD, POLICY
from .virtual_machine import VirtualMachine

DEVICE = "/dev/video0"
CONFIG = f"""\
bundle: /var/lib/jetvla/bundles/current
cameras: {{front: {{kind: v4l2, device: {DEVICE}, size: [320, 180], fps: 10}}}}
instruction: {{text: pick up the red block, ttl_s: null}}
policy: {{threads: 1}}
guard:
  rate_hz: 20
  outputs: [{{kind: log, path: /var/log/jetvla/commands.jsonl}}]
telemetry: {{audit: /var/log/jetvla}}
"""
PATIENT = "[Service]\nWatchdogSec=60\nTimeoutStartSec=600\n"
# One webcam; by itself the driver makes a dozen nodes.
VIVID = "options vivid node_types=0x1 num_inputs=1 input_types=0x0\n"


@pytest.fixture(scope="module")
def machine(
    package: Path, keys: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VirtualMachine]:
    """Installed and configured, never booted, with a signed bundle in it and no camera."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 not installed: apt install qemu-system-x86")
    place = root.copy(root.virtual(CACHE), CACHE / "machine-vm")
    root.install(place, package)
    (place / "etc/jetvla/jetvla.yaml").write_text(CONFIG)
    (place / "etc/modprobe.d/vivid.conf").write_text(VIVID)
    shutil.copy(keys / "robot.pub", place / "etc/jetvla/trusted.d")
    give_bundle(place, signed(tiny_bundle, place / "root/tiny", keys))
    for unit in (GUARD, POLICY):
        drop_in = place / f"etc/systemd/system/{unit}.d/90-patient.conf"
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        drop_in.write_text(PATIENT)
    (place / "var/log/journal").mkdir(exist_ok=True)
    root.disk(place, CACHE / "disk.img", "4G")
    (kernel,) = (place / "boot").glob("vmlinuz-*")
    machine = VirtualMachine(CACHE / "disk.img", kernel, tmp_path_factory.mktemp("vm"))
    yield machine
    machine.power_cut()
    subprocess.run(["rm", "-rf", str(place), str(CACHE / "disk.img")], check=True)
