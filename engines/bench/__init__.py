"""Measurements of the builder's results: speed in turns, fidelity on held-out episodes, numbers of the quantizer.

::

    python -m jetvla.engines.bench speed BUNDLE --engines DIR    the base-size reference beside the course's way
    python -m jetvla.engines.bench fidelity BUNDLE DATA          action error of a trained policy, by way
    python -m jetvla.engines.bench selection BUNDLE DATA         action error by choice of calibration samples
    python -m jetvla.engines.bench seams BUNDLE DATA             jumps and jerk of a recorded run, by execution
    python -m jetvla.engines.bench choice BUNDLE --engines DIR   compile's pick beside every accurate candidate
    python -m jetvla.engines.bench overhead BUNDLE               a frame outside the engine, beside the course's way
    python -m jetvla.engines.bench jitter BUNDLE                 lateness of the guard's tick beside the policy
    python -m jetvla.engines.bench numerics                      INT8 with and without SmoothQuant, base size
"""
