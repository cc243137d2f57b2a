"""What runs on the device: contracts, cameras, policy loop, guard, link and ROS 2.

Needs neither torch nor any other training library.
"""

import os

# From 1.29 on ONNX Runtime tells its maker over the network what it runs, unless this is set before its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
