"""Roll-pitch-yaw to rotation vector, against matrices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from jetvla.runtime.guard.rotation import rotation_vector


def axis(i: int, angle: float) -> NDArray[np.float64]:
    """Rotation matrix about coordinate axis ``i``."""
    a, b = (i + 1) % 3, (i + 2) % 3
    m = np.eye(3)
    m[a, a] = m[b, b] = np.cos(angle)
    m[b, a], m[a, b] = np.sin(angle), -np.sin(angle)
    return m


def rodrigues(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrix of a rotation vector."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < 1e-9:
        return np.eye(3) + cross
    k = cross / angle
    return np.asarray(np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k)


@pytest.mark.parametrize("size", [1e-12, 1e-6, 0.01, 0.3, 3.0])
def test_it_is_the_rotation_of_the_three_turns(size: float) -> None:
    angles = np.random.default_rng(0).uniform(-size, size, (200, 3))
    for rpy, vector in zip(angles, rotation_vector(angles), strict=True):
        matrix = axis(2, rpy[2]) @ axis(1, rpy[1]) @ axis(0, rpy[0])
        np.testing.assert_allclose(rodrigues(vector), matrix, atol=1e-12)
        assert np.linalg.norm(vector) <= np.pi + 1e-12


def test_one_turn_is_itself_and_nothing_is_nothing() -> None:
    np.testing.assert_allclose(rotation_vector(np.array([0.0, -0.7, 0.0])), [0.0, -0.7, 0.0])
    np.testing.assert_allclose(rotation_vector(np.array([0.0, 0.0, 3.0])), [0.0, 0.0, 3.0])
    assert rotation_vector(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    assert rotation_vector(np.full(3, 1e-300)).tolist() == pytest.approx([1e-300] * 3, rel=1e-9)


def test_small_angles_are_their_own_rotation_vector() -> None:
    angles = np.array([1e-5, -2e-5, 3e-5])
    np.testing.assert_allclose(rotation_vector(angles), angles, rtol=1e-4)


def test_a_vanishing_angle_is_kept() -> None:
    tiny = np.array([1e-13, 0.0, -1e-13])
    np.testing.assert_allclose(rotation_vector(tiny), tiny, rtol=1e-9, atol=1e-25)
