"""A table with coloured blocks, one camera, and a gripper driven by a Twist. Pure: numpy and OpenCV only."""
