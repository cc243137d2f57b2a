"""What runs on the device: contracts, cameras, policy loop, guard, link and ROS 2.

Needs neither torch nor any other training library.
"""

import os

# From 1.29 on ONNX Runtime keeps an identifier of the machine and tells its maker over the network what runs, unless
# this is set before its first import. A robot's computer reports to nobody unasked.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
