"""Qualities of service that several nodes ask for. Those of commands are in :mod:`jetvla.runtime.sinks.peers`."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

# Sensor data: a reader that asked for more than best effort would not match every publisher. None requests a deadline.
IMAGE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# There may be several publishers, each with some of the joints.
SENSOR_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
# The last state is there for those who come later.
STATE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# An e-stop may be said once, before the guard was there, or again and again: a reader that asks for what was said
# before does not match a publisher that keeps nothing, hence one of each. To hear it twice does no harm.
ESTOP_QOS = (QoSProfile(depth=10), QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL))
