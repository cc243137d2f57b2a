"""ROS 2 through rclpy, which is imported only when a node is opened."""
