"""Runs in the virtual machine: what our V4L2 camera makes of a real driver. Prints it as JSON.

``camera.py DEVICE WHAT``: ``frames`` reads a few in each pixel format, ``refusals`` asks for what the driver does not
give, ``stamps`` reads with the driver's stamps and those of arrival.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

from jetvla.runtime.cameras import Camera, open_camera
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.config import V4l2Camera
from jetvla.runtime.errors import CameraError

CLOCK = MonotonicClock()
FORMATS = (None, "YUYV", "NV12", "RGB3", "GREY")
FRAMES = 5
PATIENCE_S = 10.0
BARS = 8


def opened(device: str, **wanted: Any) -> Camera:
    config = V4l2Camera.model_validate({"kind": "v4l2", "device": device, "size": (320, 180), "fps": 10} | wanted)
    return open_camera("front", config, CLOCK)


def read(device: str, **wanted: Any) -> dict[str, Any]:
    """A few frames: their colours in the middle of each bar, ages and intervals; or what went wrong."""
    try:
        camera = opened(device, **wanted)
    except CameraError as error:
        return {"error": str(error)}
    ages_ms, frames = [], []
    try:
        for _ in range(FRAMES):
            frames.append(camera.read(PATIENCE_S))
            ages_ms.append((CLOCK.now_ns() - frames[-1].t_ns) / 1e6)
    except CameraError as error:
        return {"error": str(error)}
    finally:
        camera.close()
    image = frames[-1].image
    # A text lies over the upper half.
    row = image[image.shape[0] * 9 // 10]
    intervals = [(b.t_ns - a.t_ns) / (b.seq - a.seq) / 1e6 for a, b in pairwise(frames)]
    return {
        "shape": image.shape,
        "bars": [row[int(image.shape[1] * (i + 0.5) / BARS)].tolist() for i in range(BARS)],
        "ages_ms": ages_ms,
        "interval_ms": median(intervals),
    }


def frames(device: str) -> Any:
    """How old they are is not looked at here, nor how slow the emulator is."""
    return {str(name): read(device, format=name, stamp="arrival") for name in FORMATS}


def refusals(device: str) -> Any:
    found = {
        "size": read(device, size=(320, 240)),
        "rate": read(device, size=(1920, 1080), fps=60),
        "format": read(device, format="MJPG"),
    }
    camera = opened(device)
    camera.read(PATIENCE_S)
    found["second program"] = read(device)
    camera.close()
    return {what: answer.get("error") for what, answer in found.items()}


def stamps(device: str) -> Any:
    return {stamp: read(device, stamp=stamp) for stamp in ("driver", "arrival")}


TASKS: dict[str, Callable[[str], Any]] = {"frames": frames, "refusals": refusals, "stamps": stamps}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[2]](sys.argv[1])))
