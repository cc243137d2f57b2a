"""A signed bundle of a policy with absolute joints, which takes their positions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.bundle import MANIFEST, SIGNATURE, digest_files
from jetvla.runtime.keys import load_private_key, sign

GRAPH = Path(__file__).parents[1] / "data" / "act.onnx"
JOINTS = ("elbow", "wrist")
HORIZON, SIDE = 10, 8


def answer(state: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 [H, 2]: what the graph computes."""
    steps = 0.02 * np.arange(1, HORIZON + 1)[:, None] * np.array([[1, 2]])
    return (state + steps * image.mean() / 255).astype(np.float32)


def make_joint_bundle(place: Path) -> Path:
    """In the place of the tiny bundle: two absolute joints, which are its state too."""
    folder = place / "bundle"
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for path in folder.iterdir():
        path.unlink()
    shutil.copy(GRAPH, folder / "step.fp32.onnx")
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    states = np.array([[0.1, -0.2], [0.5, 0.4]], np.float32)
    actions = np.stack([answer(*sample) for sample in zip(states, images, strict=True)])
    np.savez(folder / "golden.npz", image_front=images, state=states, instructions=np.array(["", ""]), actions=actions)
    errors = {"samples": 2, "max": [0.0] * 2, "mean": [0.0] * 2}
    joint = {"quantity": "joint", "unit": "rad", "semantics": "absolute"}
    float32 = {"dtype": "float32"}
    manifest |= {
        "name": "two-joints",
        "family": "act",
        "action": {"dimensions": [{"name": name, **joint} for name in JOINTS]},
        "cameras": [{"name": "front", "height": SIDE, "width": SIDE}],
        "state": JOINTS,
        "horizon": HORIZON,
        "dt_s": 0.1,
        "replan_s": 0.1,
        "text": None,
        "graphs": {
            "step.fp32": {
                "file": "step.fp32.onnx",
                "inputs": {
                    "image_front": {"dtype": "uint8", "shape": [1, SIDE, SIDE, 3]},
                    "state": float32 | {"shape": [1, 2]},
                },
                "outputs": {"actions": float32 | {"shape": [1, HORIZON, 2]}},
            }
        },
        "normalization": {"mean": [0.0] * 2, "std": [1.0] * 2},
        "golden": {
            "file": "golden.npz",
            "count": 2,
            "scale": [1.0] * 2,
            "moving": [True] * 2,
            "tolerance": {"fp32": 1e-4},
        },
        "parity": manifest["parity"] | errors,
        "precision": [],
        "files": {name: file.model_dump() for name, file in digest_files(folder).items()},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    key = load_private_key(place / "keys" / "test.key")
    (folder / SIGNATURE).write_bytes(sign((folder / MANIFEST).read_bytes(), key))
    return folder
