"""The resize is the library's, bit for bit, and every fit puts pixels where it says."""

from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from jetvla.runtime.manifest import Fit, ResizeMethod, ResizeSpec
from jetvla.runtime.preprocess import Resizer, placement, resize

METHODS: tuple[ResizeMethod, ...] = get_args(ResizeMethod)
FITS: tuple[Fit, ...] = get_args(Fit)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def by_library(image: NDArray[np.uint8], height: int, width: int, method: ResizeMethod) -> NDArray[np.uint8]:
    size = (width, height)
    if method == "pillow_bilinear":
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    if method == "pillow_bicubic":
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    interpolation = cv2.INTER_LINEAR if method == "opencv_linear" else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [(48, 48), (30, 70), (200, 150)])
def test_stretch_is_the_library_bit_for_bit(method: ResizeMethod, target: tuple[int, int]) -> None:
    image = noise(96, 128)
    assert np.array_equal(
        resize(image, *target, ResizeSpec(method=method, fit="stretch")), by_library(image, *target, method)
    )


def triangle_weights(source: int, target: int) -> NDArray[np.float64]:
    """Antialiased linear interpolation, from its definition: a triangle as wide as the scale."""
    scale = source / target
    centres = (np.arange(target) + 0.5) * scale
    away = np.abs(np.arange(source) + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - away)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def test_pillow_bilinear_antialiases_and_opencv_linear_does_not() -> None:
    image = noise(96, 128)
    exact = np.einsum("yh,hwc,xw->yxc", triangle_weights(96, 32), image, triangle_weights(128, 40))

    def error(method: ResizeMethod) -> float:
        return float(np.abs(resize(image, 32, 40, ResizeSpec(method=method, fit="stretch")) - exact).max())

    assert error("pillow_bilinear") <= 1.0
    assert error("opencv_linear") > 50.0


@pytest.mark.parametrize("method", METHODS)
def test_pad_centres_the_whole_image_on_black(method: ResizeMethod) -> None:
    image = noise(48, 64)
    padded = resize(image, 32, 32, ResizeSpec(method=method, fit="pad"))
    assert np.array_equal(padded[4:28], by_library(image, 24, 32, method))
    assert not padded[:4].any()
    assert not padded[28:].any()


@pytest.mark.parametrize("method", METHODS)
def test_crop_cuts_the_centre_before_it_scales(method: ResizeMethod) -> None:
    image = noise(48, 64)
    cropped = resize(image, 32, 32, ResizeSpec(method=method, fit="crop"))
    assert np.array_equal(cropped, by_library(np.ascontiguousarray(image[:, 8:56]), 32, 32, method))


@given(*[st.integers(1, 300)] * 4, st.sampled_from(FITS))
def test_placement_stays_inside_and_keeps_the_aspect_ratio(h: int, w: int, th: int, tw: int, fit: Fit) -> None:
    taken, filled = placement((h, w), (th, tw), fit)
    for window, (height, width) in ((taken, (h, w)), (filled, (th, tw))):
        assert 0 <= window.top <= (height - window.height + 1) // 2
        assert 0 <= window.left <= (width - window.width + 1) // 2
        assert window.height == height or window.width == width
        assert window.height >= 1
        assert window.width >= 1
    if fit == "pad":
        assert (taken.height, taken.width) == (h, w)
        assert abs(filled.height * w - filled.width * h) < max(w, h)
    if fit == "crop":
        assert (filled.height, filled.width) == (th, tw)
        assert abs(taken.height * tw - taken.width * th) < max(tw, th)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(METHODS), st.sampled_from(FITS), st.lists(st.integers(2, 60), min_size=2, max_size=6))
def test_a_reused_resizer_and_buffer_give_what_fresh_ones_give(
    method: ResizeMethod, fit: Fit, heights: list[int]
) -> None:
    spec = ResizeSpec(method=method, fit=fit)
    resizer, buffer = Resizer(24, 32, spec), np.full((1, 24, 32, 3), 255, np.uint8)
    for height in heights:
        image = noise(height, 40)
        assert resizer(image, buffer[0]) is not None
        assert np.array_equal(buffer[0], resize(image, 24, 32, spec))


def test_a_read_only_source_is_accepted_and_left_alone() -> None:
    image = noise(48, 64)
    image.setflags(write=False)
    before = image.copy()
    for method in METHODS:
        resize(image, 32, 32, ResizeSpec(method=method, fit="crop"))
    assert np.array_equal(image, before)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (1, 8, 8, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\]"):
        resize(np.zeros(shape, np.uint8), 4, 4, ResizeSpec(method="opencv_linear", fit="stretch"))
