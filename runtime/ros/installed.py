"""Whether ROS 2 is here with the messages that jetvla speaks: rclpy's own package brings none of them."""

from __future__ import annotations

from importlib.util import find_spec

from jetvla.runtime.errors import MissingDependency

PACKAGES = (
    "rclpy",
    "diagnostic_msgs",
    "geometry_msgs",
    "lifecycle_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "trajectory_msgs",
)
INSTALL = "apt install ros-humble-ros-base (JetPack 6) or ros-jazzy-ros-base (JetPack 7), or pip install 'jetvla[ros]'"


def missing() -> tuple[str, ...]:
    """Packages of :data:`PACKAGES` that cannot be imported."""
    return tuple(package for package in PACKAGES if find_spec(package) is None)


def check_installed() -> None:
    """MissingDependency, naming each of :data:`PACKAGES` that is missing and how to install them."""
    if gone := missing():
        raise MissingDependency(", ".join(gone), "ROS 2", INSTALL)
