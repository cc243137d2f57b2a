"""Rewrites of the step graph for ONNX Runtime on a CPU; each computes what the graph did before."""
