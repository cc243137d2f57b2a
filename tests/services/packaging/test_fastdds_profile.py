"""The services' profile of Fast DDS: no shared memory, which is lost between users, and images arrive all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy (extra 'ros')")

from jetvla.services.packaging.deb import PACKAGING

pytestmark = pytest.mark.ros

HERE = Path(__file__).parent
PROFILE = PACKAGING / "files/fastdds.xml"


@pytest.mark.parametrize("profile", [PROFILE, None])
def test_images_arrive_over_udp_alone(profile: Path | None) -> None:
    unset = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "FASTRTPS_DEFAULT_PROFILES_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment["ROS_DOMAIN_ID"] = str((os.getpid() + 17) % 100 + 1)
    if profile is not None:
        environment["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(profile)
    command = [sys.executable, HERE / "images.py"]
    with subprocess.Popen([*command, "send"], env=environment) as sender:
        try:
            said = subprocess.check_output([*command, "receive"], env=environment, timeout=60, text=True)
        finally:
            sender.kill()
    assert said.split() == ["921600", "bytes,", "no" if profile else "with", "shared", "memory"]
