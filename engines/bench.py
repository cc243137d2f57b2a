"""The base-size reference, jetvla's way beside the course's way: one run, interleaved, as ratios.

The host drifts, so only ratios between samples taken in turns count, and a sample during which other processes
used the CPU is dropped and counted. Weights are random: speed does not depend on them, fidelity does.

    python -m jetvla.engines.bench BUNDLE        BUNDLE from 'jetvla build --random-init base --precision int8 --force'
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from jetvla.engines.policy import Policy
from jetvla.engines.sources import Declared, random_policy
from jetvla.runtime.backends import EngineOptions, load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.manifest import Precision
from jetvla.runtime.policy.model import Model
from jetvla.runtime.preprocess import resize

ACCEPTED = 20
# A sample is dropped when other processes took more than this share of the machine meanwhile.
OTHERS = 0.05
CAMERA_SIZE = (480, 640, 3)
SENTENCE = "pick up the red block"

Actions = NDArray[np.float32]


@dataclass(frozen=True)
class Way:
    """One way from a camera image uint8 [480, 640, 3] to actions float32 [H, D]."""

    name: str
    act: Callable[[NDArray[np.uint8]], Actions]


@dataclass
class Tally:
    """Samples of one way, seconds; and how many were dropped."""

    accepted: list[float]
    dropped: int = 0


def course(policy: Policy) -> Way:
    """PyTorch FP32 eager; tokens, text and image are all computed again for every frame."""
    camera, spec = policy.settings.cameras[0], policy.settings.resize

    def act(image: NDArray[np.uint8]) -> Actions:
        return policy.act({camera.name: resize(image, camera.height, camera.width, spec)}, None, SENTENCE)

    return Way("the course: PyTorch eager, everything every frame", act)


def ours(bundle: Bundle, precision: Precision, threads: int) -> Way:
    """jetvla's runtime on the portable graph; the language result is kept."""
    backend = load_backend("onnxruntime")
    model = Model(bundle, backend, precision, EngineOptions(threads=threads), MonotonicClock())
    camera, spec = bundle.manifest.cameras[0], bundle.manifest.resize

    def act(image: NDArray[np.uint8]) -> Actions:
        inputs: Mapping[str, Any] = {f"image_{camera.name}": resize(image, camera.height, camera.width, spec)[None]}
        return model.infer(inputs, None, SENTENCE).actions

    return Way(f"jetvla, ONNX Runtime, portable graph, {precision}", act)


def measure(ways: list[Way], accepted: int) -> list[Tally]:
    """Time the ways in turns until each has ``accepted`` samples, or after ten times as many turns."""
    rng = np.random.default_rng(0)
    for way in ways:
        way.act(rng.integers(0, 256, CAMERA_SIZE, np.uint8))
    tallies = [Tally([]) for _ in ways]
    for _ in range(10 * accepted):
        image = rng.integers(0, 256, CAMERA_SIZE, np.uint8)
        for way, tally in zip(ways, tallies, strict=True):
            _sample(way, image, tally)
        if all(len(t.accepted) >= accepted for t in tallies):
            break
    return tallies


def _sample(way: Way, image: NDArray[np.uint8], tally: Tally) -> None:
    busy, own, began = _busy_s(), time.process_time(), time.perf_counter()
    way.act(image)
    seconds = time.perf_counter() - began
    others = (_busy_s() - busy) - (time.process_time() - own)
    if others > OTHERS * seconds * (os.cpu_count() or 1) + 1 / os.sysconf("SC_CLK_TCK"):
        tally.dropped += 1
    else:
        tally.accepted.append(seconds)


def _busy_s() -> float:
    """Seconds that all cores together have been busy since boot."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def error(ways: list[Way]) -> list[float]:
    """Largest |difference| from the first way's actions on one image, relative to their norm."""
    image = np.random.default_rng(1).integers(0, 256, CAMERA_SIZE, np.uint8)
    truth, *others = (way.act(image) for way in ways)
    return [0.0, *(float(np.linalg.norm(o - truth) / np.linalg.norm(truth)) for o in others)]


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 when a way got too few undisturbed samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every way (default: every core)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    bundle = Bundle.open(arguments.bundle, None)
    ways = [course(random_policy("base", Declared()))]
    ways += [ours(bundle, precision, arguments.threads) for precision in bundle.manifest.step_precisions]
    errors, tallies = error(ways), measure(ways, ACCEPTED)
    medians = [float(np.median(t.accepted)) if t.accepted else float("nan") for t in tallies]
    rows = [
        {
            "way": w.name,
            "ms": m * 1e3,
            "ratio": medians[0] / m,
            "error": e,
            "accepted": len(t.accepted),
            "dropped": t.dropped,
        }
        for w, m, e, t in zip(ways, medians, errors, tallies, strict=True)
    ]
    _print(rows, f"base-size reference, one 640x480 frame, {arguments.threads} threads, medians, samples in turns")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0 if all(len(t.accepted) >= ACCEPTED for t in tallies) else 1


def _print(rows: list[dict[str, Any]], title: str) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("way", "ms", "x", "rel. error", "samples", "dropped"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for r in rows:
        table.add_row(
            r["way"], f"{r['ms']:.1f}", f"{r['ratio']:.2f}", f"{r['error']:.1e}", str(r["accepted"]), str(r["dropped"])
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
