"""Data: episode readers, activation ranges, and the simulated table robot."""
