"""What runs on the device: contracts, cameras, policy loop, guard, link and ROS 2.

Needs neither torch nor any other training library.
"""

import os

# Builds of ONNX Runtime (seen: 1.32) keep an identifier of the machine and report to their maker what runs, unless this
# is set before they are imported. A robot's computer reports to nobody unasked.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
