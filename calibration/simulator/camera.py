"""The picture: a pinhole camera that looks down at the table, a little from behind."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.simulator.scene import TABLE_HALF_M, Block, Rgb, Scene

SIZE_PX = 128
HOVER_M = 0.06
BLOCK_HEIGHT_M = 0.03

_OVERSAMPLE = 2
_POSITION = np.array([-0.22, 0.0, 0.95])
_AHEAD = -_POSITION / np.linalg.norm(_POSITION)
_RIGHT = np.array([0.0, -1.0, 0.0])
_AXES = np.stack([_RIGHT, np.cross(_AHEAD, _RIGHT), _AHEAD])
_FOCAL = 1.9  # of the image's width; the whole table fits with a margin
_FLOOR: Rgb = (0.16, 0.17, 0.19)
_JAW: Rgb = (0.10, 0.10, 0.11)
_PALM: Rgb = (0.85, 0.15, 0.80)  # a colour that no block has

Points = NDArray[np.float64]
Canvas = NDArray[np.float32]


def project(points: Points, size: int = SIZE_PX) -> Points:
    """Pixels [N, 2] (u right, v down) of ``points`` [N, 3] in metres, in a square image of ``size``."""
    seen = (points - _POSITION) @ _AXES.T
    return np.asarray(seen[:, :2] / seen[:, 2:] * _FOCAL * size + size / 2)


class Camera:
    """Renders one scene. What does not move is drawn once; noise comes from the scene's seed.

    Args:
        scene: the layout and its look.
    """

    def __init__(self, scene: Scene) -> None:
        self._rng = np.random.default_rng([scene.seed, 1])
        self._look = scene.look
        self._size = SIZE_PX * _OVERSAMPLE
        self._still = self._table()
        for block in scene.blocks:
            self._block(self._still, block)
        self._light = self._gain()

    def image(self, x: float, y: float, closed: float) -> NDArray[np.uint8]:
        """uint8 [128, 128, 3] RGB with the gripper above (x, y), ``closed`` from 0 to 1."""
        canvas = self._still.copy()
        self._gripper(canvas, x, y, closed)
        small = cv2.resize(canvas, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA) * self._light
        small += self._rng.standard_normal(small.shape, np.float32) * self._look.noise
        return np.asarray(np.clip(small + 0.5, 0, 255), np.uint8)

    def _table(self) -> Canvas:
        corner = TABLE_HALF_M
        canvas = np.empty((self._size, self._size, 3), np.float32)
        canvas[:] = _FLOOR
        square = np.array([[-corner, -corner], [corner, -corner], [corner, corner], [-corner, corner]])
        self._fill(canvas, square, 0.0, self._look.table)
        shape = (24, 3) if self._look.streaks else (12, 12)
        for cells in (shape, (4, 4), (64, 64)):
            grain = self._rng.standard_normal(cells, np.float32) * self._look.grain
            grain = cv2.resize(grain, (self._size, self._size), interpolation=cv2.INTER_CUBIC).astype(np.float32)
            canvas *= 1 + grain[..., None]
        return canvas

    def _gain(self) -> Canvas:
        slope = np.linspace(-1, 1, SIZE_PX, dtype=np.float32)
        along, across = self._look.gradient
        plane = 1 + along * slope[::-1, None] + across * slope[None, ::-1]
        return np.asarray(plane[..., None] * np.float32(255) * np.array(self._look.gain, np.float32), np.float32)

    def _block(self, canvas: Canvas, block: Block) -> None:
        square = _rectangle(block.x, block.y, block.size, block.size, block.yaw)
        self._shadow(canvas, square, BLOCK_HEIGHT_M)
        sides = np.concatenate([_lift(square, 0.0), _lift(square, BLOCK_HEIGHT_M)])
        self._polygon(canvas, sides, _shade(block.rgb, 0.6))
        self._fill(canvas, square, BLOCK_HEIGHT_M, block.rgb)

    def _gripper(self, canvas: Canvas, x: float, y: float, closed: float) -> None:
        gap = 0.044 - 0.012 * closed
        jaws = [_rectangle(x + 0.004, y + side * gap, 0.064, 0.014, 0.0) for side in (-1, 1)]
        palm = _rectangle(x - 0.038, y, 0.024, 0.108, 0.0)
        for part in (*jaws, palm):
            self._shadow(canvas, part, HOVER_M)
        for jaw in jaws:
            self._fill(canvas, jaw, HOVER_M, _JAW)
        self._fill(canvas, palm, HOVER_M, _PALM)

    def _shadow(self, canvas: Canvas, shape: Points, lifted: float) -> None:
        moved = shape + np.array(self._look.shadow) * lifted
        pixels = self._pixels(_lift(moved, 0.0))
        left, top, width, height = cv2.boundingRect(pixels // 16)
        part = canvas[max(top, 0) : top + height + 1, max(left, 0) : left + width + 1]
        if not part.size:  # wholly outside the picture
            return
        mask = np.ones(part.shape[:2], np.float32)
        outline = pixels - np.array([max(left, 0), max(top, 0)], np.int32) * 16
        cv2.fillConvexPoly(mask, cv2.convexHull(outline), (0.72,), lineType=cv2.LINE_8, shift=4)
        part *= mask[..., None]

    def _fill(self, canvas: Canvas, shape: Points, z: float, rgb: Rgb) -> None:
        self._polygon(canvas, _lift(shape, z), rgb)

    def _polygon(self, canvas: NDArray[Any], points: Points, value: tuple[float, ...]) -> None:
        cv2.fillConvexPoly(canvas, cv2.convexHull(self._pixels(points)), value, lineType=cv2.LINE_8, shift=4)

    def _pixels(self, points: Points) -> NDArray[np.int32]:
        # Sixteenths of a pixel, so that a slow gripper moves smoothly.
        return np.round((project(points, self._size) - 0.5) * 16).astype(np.int32)


def _rectangle(x: float, y: float, length: float, width: float, yaw: float) -> Points:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (length / 2, width / 2)
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.asarray(corners @ np.array([[cos, sin], [-sin, cos]]) + (x, y))


def _lift(shape: Points, z: float) -> Points:
    return np.concatenate([shape, np.full((len(shape), 1), z)], axis=1)


def _shade(rgb: Rgb, factor: float) -> Rgb:
    return rgb[0] * factor, rgb[1] * factor, rgb[2] * factor
