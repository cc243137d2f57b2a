"""Policies with random weights that differ in one thing, built as any other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jetvla.engines.build import BuildOptions, build
from jetvla.engines.checkpoint import assemble
from jetvla.engines.families import find_family
from jetvla.engines.families.settings import ActionNormalization
from jetvla.engines.observations import random_observations
from jetvla.engines.text import word_tokenizer
from jetvla.engines.variants import Wish

PIXELS = 224
_WORDS = ("pick up the red block", "move to the green block", "stop")
_TWIST = ("x", "y", "z", "roll", "pitch", "yaw")
_VOCABULARY = 1000


def _common(cameras: Iterable[str], horizon: int) -> dict[str, Any]:
    rate = {"semantics": "velocity", "frame": "base_link"}
    linear = [{"name": name, "quantity": "linear", "unit": "m/s", **rate} for name in _TWIST[:3]]
    angular = [{"name": name, "quantity": "angular", "unit": "rad/s", **rate} for name in _TWIST[3:]]
    return {
        "horizon": horizon,
        "dt_s": 0.1,
        "replan_s": 0.1,
        "cameras": [{"name": name, "height": PIXELS, "width": PIXELS} for name in cameras],
        "resize": {"method": "opencv_linear", "fit": "stretch"},
        "action": {"dimensions": [*linear, *angular], "rotation": "rotation_vector"},
    }


def act(cameras: int, horizon: int) -> dict[str, Any]:
    """``config.yaml`` of an ACT policy of LeRobot's sizes, without a state."""
    names = [f"camera{number}" for number in range(cameras)]
    images = {name: {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)} for name in names}
    return {"family": "act", "name": f"act-{cameras}-{horizon}", "images": images, **_common(names, horizon)}


def end_to_end(width: int, layers: int, tokens: int) -> dict[str, Any]:
    """``config.yaml`` of a ViT, a DeBERTa and a fusion of ``width``; 768 wide with 12 layers is the base size."""
    encoder = {"hidden_size": width, "layers": layers, "heads": max(1, width // 64), "mlp": 4 * width}
    model = {
        "hidden": width,
        "vision": {"patch_size": 16, **encoder},
        "language": {"vocab_size": _VOCABULARY, **encoder},
        "fusion": {"layers": max(1, layers // 2), "heads": 8, "feed_forward": 2048 * width // 768},
    }
    name = f"end-to-end-{width}-{layers}-{tokens}"
    return {
        "family": "end_to_end",
        "name": name,
        "text": {"max_tokens": tokens},
        "model": model,
        **_common(["front"], 1),
    }


def build_random(config: Mapping[str, Any], output: Path) -> None:
    """Build an unsigned bundle of a policy with the settings ``config``, in FP32."""
    family = find_family(str(config["family"]))
    settings = family.settings(dict(config), str(config["name"]))
    torch.manual_seed(0)
    text = None if settings.text is None else word_tokenizer(_WORDS)
    policy = assemble(settings, None, ActionNormalization.identity(len(settings.action)), text)
    observations = random_observations(settings)
    wish = Wish("fp32", "cpu", np.full(len(settings.action), np.inf))
    build(policy, observations, BuildOptions(wish), output, lambda _: None)
