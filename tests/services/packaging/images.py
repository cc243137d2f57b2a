"""``send`` images over ROS 2 until killed, or ``receive`` one and say how it came: a process of a test."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image


def main(role: str) -> None:
    rclpy.init()
    node = rclpy.create_node(role)
    if role == "send":
        publisher = node.create_publisher(Image, "/image", qos_profile_sensor_data)
        image = Image(height=480, width=640, encoding="rgb8", step=1920, data=bytes(921600))
        while True:
            publisher.publish(image)
            time.sleep(0.05)
    received: list[int] = []
    node.create_subscription(Image, "/image", lambda image: received.append(len(image.data)), qos_profile_sensor_data)
    while not received:
        rclpy.spin_once(node)
    shared = "/dev/shm/fastrtps" in Path("/proc/self/maps").read_text()
    print(f"{received[0]} bytes, {'with' if shared else 'no'} shared memory")


if __name__ == "__main__":
    main(sys.argv[1])
