"""What ``jetvla demo`` does: prepare a bundle, try it on the simulated robot, report."""
