"""What the daemons are configured with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from .camera import pictures

# The tiny policy has random weights: it asks for a steady motion, and for a gripper that is out of range.
UNCOUNTED = {"excess_count": 10**9, "excess_window": 10**9}
# A host that takes a virtual machine's processors away for a while would stop the robot; no test here is of that.
PATIENT = {"period_ratio": 30.0, "late_chunks": 30}
PATIENT_S = 0.3
Settings = dict[str, Any]


def basic_settings(folder: Path) -> Settings:
    """For a signed bundle in ``folder``: moving pictures for a camera, an instruction from the start."""
    (folder / "pictures").mkdir()
    (folder / "run").mkdir()
    for index, picture in zip(range(8), pictures(), strict=False):
        cv2.imwrite(str(folder / f"pictures/{index}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return {
        "bundle": "bundle",
        "trusted": "keys",
        "run_dir": "run",
        "cameras": {"front": {"kind": "frames", "path": "pictures", "loop": True}},
        "instruction": {"text": "pick up the red block", "ttl_s": None},
        "guard": {
            "limits": UNCOUNTED | PATIENT,
            "outputs": [{"kind": "twist"}, {"kind": "log", "path": "commands.jsonl"}],
        },
        "telemetry": {"audit": "audit"},
    }
