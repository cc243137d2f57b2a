"""What a frame costs outside the engine: our loop beside the course's node.

Ours is one turn of the policy's real loop, with an engine that computes nothing, and the guard's end of the link:
look at the camera and judge its health, resize, build the inputs, encode and send the chunk and the health over a
real socket, receive and decode them. The course's resizes, normalises and tokenizes anew for every frame, and sends
nothing.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from jetvla.engines.bench.loop import SENTENCE, Pictures, open_loop
from jetvla.engines.bench.turns import ACCEPTED, Tally, take_turns
from jetvla.engines.policy import Policy
from jetvla.engines.sources import Declared, random_policy
from jetvla.runtime.backends import EngineOptions, load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.link.client import PolicyLink
from jetvla.runtime.link.protocol import Hello
from jetvla.runtime.link.server import GuardLink
from jetvla.runtime.manifest import ResizeSpec
from jetvla.runtime.policy.model import Model, Variant

# A sample is a run of this many frames: one of them is shorter than what the kernel counts CPU time in.
FRAMES = 100
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Fills one frame's place: returns when its work is done.
_Work = Callable[[], object]


@dataclass(frozen=True)
class Cost:
    """Milliseconds of one way's frames; ``accepted`` and ``dropped`` count runs of many frames."""

    way: str
    p50_ms: float
    p99_ms: float
    accepted: int
    dropped: int


@dataclass(frozen=True)
class Overhead:
    """Both resizes that we offer, and both orders in which the course's transforms are met.

    Attributes:
        fast: for a policy that was trained with OpenCV's resize.
        exact: for one that was trained with Pillow's, bit for bit.
        course: Pillow's resize, then a tensor.
        tensors: a float tensor of the whole image first, then its resize, as the course's node does.
    """

    fast: Cost
    exact: Cost
    course: Cost
    tensors: Cost

    @property
    def costs(self) -> tuple[Cost, ...]:
        """The ways, in turn."""
        return self.fast, self.exact, self.course, self.tensors


def overhead(bundle: Bundle, accepted: int = ACCEPTED, frames: int = FRAMES) -> Overhead:
    """Measure all ways in turns, on the camera size of ``bundle``'s policy, which has one camera and a text."""
    camera = bundle.manifest.cameras[0]
    policy = random_policy("tiny", Declared())
    with TemporaryDirectory() as folder, _fast(bundle, Path(folder)) as fast, _exact(bundle, Path(folder)) as exact:
        ways: list[tuple[str, _Work]] = [
            ("ours, OpenCV's resize", fast),
            ("ours, Pillow's resize, bit for bit", exact),
            ("the course: Pillow, then a tensor", _Course(policy, partial(_pillow, camera.height, camera.width))),
            ("the course: a tensor, then its resize", _Course(policy, partial(_tensors, camera.height, camera.width))),
        ]
        for _, work in ways:
            _run(work, frames)
        tallies = take_turns([partial(_run, work, frames) for _, work in ways], accepted)
    return Overhead(*(_cost(name, tally) for (name, _), tally in zip(ways, tallies, strict=True)))


def _cost(way: str, tally: Tally[list[float]]) -> Cost:
    frames = [seconds * 1e3 for run in tally.accepted for seconds in run]
    p50, p99 = np.percentile(frames, (50, 99)) if frames else (np.nan, np.nan)
    return Cost(way, float(p50), float(p99), len(tally.accepted), tally.dropped)


def _run(work: _Work, frames: int) -> list[float]:
    seconds = []
    for _ in range(frames):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


@contextmanager
def _loop(bundle: Bundle, resize: ResizeSpec, socket: Path) -> Iterator[_Work]:
    """A turn of the policy's loop with ``resize``, and the guard's poll after it."""
    manifest = bundle.manifest.model_copy(update={"resize": resize})
    bundle, clock = dataclasses.replace(bundle, manifest=manifest), MonotonicClock()
    variant = Variant.portable(bundle, "fp32")
    model = Model(bundle, load_backend("null"), variant, EngineOptions(), clock)
    guard, link = GuardLink(socket, {os.getuid()}), PolicyLink(socket)
    try:
        link.connect()
        link.send(Hello(bundle.digest, model.key.digest().hex(), True, 0.0))
        loop = open_loop(model, link, clock)

        def turn() -> None:
            loop.turn()
            guard.poll()

        yield turn
    finally:
        link.close()
        guard.close()


def _fast(bundle: Bundle, folder: Path) -> AbstractContextManager[_Work]:
    return _loop(bundle, ResizeSpec(method="opencv_linear", fit="stretch"), folder / "fast.sock")


def _exact(bundle: Bundle, folder: Path) -> AbstractContextManager[_Work]:
    return _loop(bundle, ResizeSpec(method="pillow_bilinear", fit="stretch"), folder / "exact.sock")


class _Course:
    """The course's callback without its model: from an image and a sentence to the model's input."""

    def __init__(self, policy: Policy, preprocess: Callable[[NDArray[np.uint8]], Tensor]) -> None:
        self._policy, self._preprocess = policy, preprocess
        self._pictures = Pictures()
        mean, std = _IMAGENET
        self._mean, self._std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    def __call__(self) -> tuple[Tensor, Tensor, Tensor]:
        pixels = self._preprocess(self._pictures.next())
        ids, mask = self._policy.encode([SENTENCE])
        return ((pixels - self._mean) / self._std).unsqueeze(0), ids, mask


def _to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """As torchvision's ``ToTensor``: float32 [3, H, W] of 0 to 1."""
    return torch.from_numpy(image).permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def _pillow(height: int, width: int, image: NDArray[np.uint8]) -> Tensor:
    resized = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BILINEAR)
    return _to_tensor(np.array(resized))


def _tensors(height: int, width: int, image: NDArray[np.uint8]) -> Tensor:
    """As torchvision's ``Resize`` of a tensor, which antialiases."""
    whole = _to_tensor(image).unsqueeze(0)
    return torch.nn.functional.interpolate(
        whole, (height, width), mode="bilinear", antialias=True, align_corners=False
    )[0]
