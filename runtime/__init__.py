"""What runs on the device: contracts, cameras, policy loop, guard, link and ROS 2.

Needs neither torch nor any other training library.
"""
