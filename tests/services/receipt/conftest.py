"""Bundles to make receipts of: altered copies of the tiny one, and one of a humanoid with many blocks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetvla.runtime.bundle import MANIFEST

SIDES = ("left", "right")
PARTS = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll", "shoulder_pitch", "shoulder_roll")
PARTS = (*PARTS, "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")
JOINTS = [f"{side}_{part}_joint" for side in SIDES for part in PARTS]
BLOCKS = ["Patch embedding", "State embedding"]
BLOCKS += [f"ViT block {i} {half}" for i in range(1, 13) for half in ("attention", "MLP")]
BLOCKS += [f"Decoder layer {i} {half}" for i in range(1, 5) for half in ("self-attention", "cross-attention", "MLP")]
BLOCKS += ["Action position embedding", "Action head"]

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def altered(tmp_path: Path, tiny_bundle: Path) -> Callable[[Change], Path]:
    """A copy of the tiny bundle whose manifest the given function has changed."""

    def alter(change: Change) -> Path:
        folder = tmp_path / "altered"
        shutil.copytree(tiny_bundle, folder)
        manifest = json.loads((folder / MANIFEST).read_bytes())
        change(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        return folder

    return alter


@pytest.fixture
def humanoid(altered: Callable[[Change], Path]) -> Path:
    """26 joints and 40 blocks; INT8 in the CPU's form ships, the FP16 form is over its tolerance."""
    return altered(make_humanoid)


def make_humanoid(m: dict[str, Any]) -> None:
    count = len(JOINTS)
    dimension = {"quantity": "joint", "unit": "rad", "semantics": "absolute"}
    m["action"] = {"dimensions": [dimension | {"name": name, "range": [-2.618, 2.618]} for name in JOINTS]}
    m["name"], m["family"], m["horizon"], m["dt_s"], m["replan_s"] = "g1-stack-blocks", "act", 50, 0.02, 0.5
    m["cameras"] = [{"name": f"observation.images.{c}", "height": 480, "width": 640} for c in ("head", "left", "right")]
    m["state"] = JOINTS
    m["normalization"] = {"mean": [0.1] * count, "std": [0.4] * count}
    m["golden"] |= {"scale": [5.236] * count, "moving": [True] * count}
    m["parity"] = {"samples": 64, "max": [2e-6 + i * 1e-7 for i in range(count)], "mean": [3e-7] * count}
    ships = report("int8-fp32", [0.01 + 0.0015 * i for i in range(count)])
    m["precision"] = [ships, report("int8-fp16", [0.02 + 0.002 * i for i in range(count)])]
    m["calibration"] |= {
        "samples": 64,
        "selection": "covering",
        "coverage": 1.83,
        "episodes": [f"episode_{i:06d}" for i in range(37)],
        "held_out": [f"episode_{i:06d}" for i in range(37, 50)],
    }


def report(precision: str, means: list[float]) -> dict[str, Any]:
    """What a build says of an INT8 graph with these errors, at a tolerance of 0.05236 rad."""
    worst = max(means) / 0.05236
    written = worst <= 1
    return {
        "precision": precision,
        "written": written,
        "reason": f"joint {JOINTS[-1]} at {worst:.0%} of its tolerance",
        "held_out": "held-out episodes",
        "error": {"samples": 64, "max": [6 * e for e in means], "mean": means},
        "relative_error": max(means) / 5.236,
        "tolerance": [0.05236] * len(means),
        "tolerance_share": worst,
        "quantized_nodes": 92,
        "float_nodes": 4,
        "smooth_alpha": 0.5,
        "blocks": [block(i, name) for i, name in enumerate(BLOCKS)],
    }


def block(index: int, name: str) -> dict[str, Any]:
    stays = index in (0, len(BLOCKS) - 1)
    share = (0.045 if name.endswith("MLP") else 0.016) if 0 < index < len(BLOCKS) - 2 else 0.01
    return {
        "name": name,
        "precision": "float" if stays else "int8",
        "alone": 1.9 if index == 0 else 0.02 + 0.004 * (index % 9),
        "together": None if stays else min(0.9, 0.025 * index),
        "share": share,
    }
