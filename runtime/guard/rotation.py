"""Roll, pitch and yaw of one step, as a rotation vector.

A *delta* in roll-pitch-yaw form is a rotation ``R = Rz(yaw) Ry(pitch) Rx(roll)`` (REP 103, fixed axes), so it
converts exactly. A *velocity* given as roll, pitch and yaw rates is taken as the angular velocity about the
x, y and z axes of its frame, as ``geometry_msgs/Twist`` means it: nothing to convert.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rotation_vector(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [..., 3] roll, pitch, yaw in rad -> [..., 3] rotation vector in rad, of norm at most pi."""
    cr, cp, cy = np.moveaxis(np.cos(angles / 2), -1, 0)
    sr, sp, sy = np.moveaxis(np.sin(angles / 2), -1, 0)
    w = cr * cp * cy + sr * sp * sy
    xyz = np.stack([sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy, cr * cp * sy - sr * sp * cy], axis=-1)
    xyz = np.where(w[..., None] < 0, -xyz, xyz)
    sine = np.linalg.norm(xyz, axis=-1)
    angle = 2 * np.arctan2(sine, np.abs(w))
    # For a vanishing angle the ratio tends to 2; the division would be 0 / 0.
    ratio = np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)
    return np.asarray(xyz * ratio[..., None])
