"""Fixtures for every test. Nothing here may need torch: the runtime's tests run without it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_bundle() -> Path:
    """A small bundle of family end_to_end with random weights, unsigned; made by tests/data/make_tiny_bundle.py.

    Camera ``front`` 32x32, twist and gripper, H = 1, fp32 and int8-fp32. Read-only: copy it before changing it.
    """
    return Path(__file__).parent / "data" / "tiny-bundle"
