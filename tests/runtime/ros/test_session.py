"""A node's log goes the way of the daemon's log, or nowhere: who writes it holds up every thread."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="needs rclpy (extra 'ros')")

pytestmark = pytest.mark.ros

SPEAKS = """
from jetvla.runtime.ros.session import RosSession

with RosSession("test_session", domain_id=87) as session:
    session.node.get_logger().error("of rclpy")
    print("of ours")
"""


def test_rclpy_writes_no_line_of_its_own() -> None:
    ran = subprocess.run([sys.executable, "-c", SPEAKS], check=True, capture_output=True, text=True, timeout=120)
    assert (ran.stdout, ran.stderr) == ("of ours\n", "")
