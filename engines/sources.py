"""Where a policy to build comes from: a checkpoint folder, LeRobot's folder, the course's bare ``.pt``, or random
weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jetvla.engines.checkpoint import assemble, load_checkpoint, read_yaml
from jetvla.engines.families.end_to_end.settings import PRESETS, EndToEndSettings
from jetvla.engines.families.settings import ActionNormalization, validated
from jetvla.engines.lerobot import is_lerobot, load_lerobot
from jetvla.engines.policy import Policy
from jetvla.engines.text import TextEncoder, word_tokenizer
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.bundle import ARCHIVE_SUFFIX, MANIFEST
from jetvla.runtime.errors import CheckpointError, ConfigError
from jetvla.runtime.manifest import ResizeSpec

_NEEDED = "a checkpoint is needed: the folder of one, or the course's .pt (see docs/CHECKPOINTS.md)"
# A zip archive, and the pickle of before PyTorch 1.6.
_TORCH = (b"PK\x03\x04", b"\x80")
# The course normalises by ImageNet's statistics.
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_IMAGE_SIZE = {"base": 224, "tiny": 32}
_MAX_TOKENS = {"base": 32, "tiny": 12}
# A manifest allows 10 s between actions; no robot takes more than some hundred a second.
_RATES_HZ = (0.1, 10_000.0)
_TWIST = ("x", "y", "z", "roll", "pitch", "yaw")
_SENTENCES = tuple(
    f"{verb} the {colour} block" for verb in ("pick up", "move to") for colour in ("red", "green", "blue", "yellow")
)


@dataclass(frozen=True)
class Declared:
    """What a checkpoint may leave open and the command line then states; None where it does not.

    Attributes:
        action: file of the action spec (YAML or JSON).
        resize, fit: of :class:`jetvla.runtime.manifest.ResizeSpec`.
        attention: ``corrected`` or ``course``.
        tokenizer: a ``tokenizer.json``.
        rate_hz: steps per second: of a chunk's actions, or of chunks that hold one action.
        state: names of the state's numbers.

    Raises:
        ConfigError: the rate is no possible one.
    """

    action: Path | None = None
    resize: str | None = None
    fit: str | None = None
    attention: str | None = None
    tokenizer: Path | None = None
    rate_hz: float | None = None
    state: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.rate_hz is not None and not _RATES_HZ[0] <= self.rate_hz <= _RATES_HZ[1]:
            low, high = _RATES_HZ
            raise ConfigError(f"--rate {self.rate_hz:g}: give the actions per second, {low:g} to {high:g}")

    def action_spec(self) -> ActionSpec | None:
        """What the file :attr:`action` says; ConfigError names every mistake in it."""
        return None if self.action is None else validated(ActionSpec, read_yaml(self.action), str(self.action))

    def resize_spec(self) -> ResizeSpec | None:
        """ConfigError if one of resize and fit is stated without the other."""
        if (self.resize is None) != (self.fit is None):
            raise ConfigError("--resize and --fit belong together: state both")
        return None if self.resize is None else ResizeSpec.model_validate({"method": self.resize, "fit": self.fit})

    def overrides(self) -> dict[str, Any]:
        """The stated ones, as keys of ``config.yaml``."""
        period = None if self.rate_hz is None else 1 / self.rate_hz
        keys = {
            "action": self.action_spec(),
            "resize": self.resize_spec(),
            "attention": self.attention,
            "dt_s": period,
            "replan_s": period,
            "state": self.state,
        }
        return {key: value for key, value in keys.items() if value is not None}


def open_policy(path: Path, declared: Declared) -> Policy:
    """The policy at ``path``, a folder or a bare ``.pt`` of the course; ConfigError says what must be stated."""
    if path.is_dir():
        _check_read(path, declared)
    if path.is_dir() and is_lerobot(path):
        return load_lerobot(path, declared.action_spec(), declared.state, declared.resize_spec(), declared.rate_hz)
    if path.is_dir():
        return load_checkpoint(path, declared.overrides())
    if not path.is_file():
        raise ConfigError(f"{path} is neither a checkpoint folder nor a .pt file")
    needed = {
        "--attention": declared.attention,
        "--action-spec": declared.action,
        "--resize": declared.resize,
        "--fit": declared.fit,
        "--tokenizer": declared.tokenizer,
        "--rate": declared.rate_hz,
    }
    missing = [option for option, value in needed.items() if value is None]
    if missing or declared.tokenizer is None:
        raise ConfigError(
            f"{path} holds weights and nothing else, so that these must be stated: {', '.join(missing)}; --attention "
            "course runs the weights as the course's code does, corrected as it means (see docs/CHECKPOINTS.md)"
        )
    settings = _settings("base", {"name": path.stem, "image": _IMAGENET, **declared.overrides()})
    actions = ActionNormalization.identity(len(settings.action))
    return assemble(settings, path, actions, TextEncoder.read(declared.tokenizer))


def check_kind(path: Path) -> None:
    """Look before anything is asked for whether ``path`` can be a checkpoint at all.

    Raises:
        CheckpointError: it is an ONNX graph, a bundle, or no file of ``torch.save``; or it cannot be read.
    """
    if path.is_dir():
        bundle = (path / MANIFEST).is_file() and not is_lerobot(path) and not (path / "config.yaml").exists()
    else:
        bundle = path.suffix == ARCHIVE_SUFFIX
    if bundle:
        raise CheckpointError(
            f"{path} is a bundle already, and a checkpoint is needed; 'jetvla inspect' says what a bundle holds, "
            "'jetvla compile' makes its engines"
        )
    if path.is_dir():
        return
    if path.suffix == ".onnx":
        raise CheckpointError(f"{path} is an ONNX graph, and {_NEEDED}; the graphs are exported from it")
    try:
        with path.open("rb") as file:
            begin = file.read(4)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not begin.startswith(_TORCH):
        raise CheckpointError(f"{path} is no file of torch.save, and {_NEEDED}")


def _check_read(folder: Path, declared: Declared) -> None:
    """What is stated must not be passed over."""
    unread = ["--tokenizer"] if declared.tokenizer is not None else []
    if is_lerobot(folder) and declared.attention is not None:
        unread.append("--attention")
    if unread:
        raise ConfigError(f"{folder} says everything that {' and '.join(unread)} would; leave the option out")


def random_policy(size: str, declared: Declared, seed: int = 0) -> Policy:
    """A policy of a named size with random weights, to try machines and pipelines with."""
    defaults = {
        "name": f"random-{size}",
        "action": {"dimensions": _twist_and_gripper(), "rotation": "rotation_vector"},
        "resize": {"method": "pillow_bilinear", "fit": "stretch"},
        "dt_s": 0.1,
        "replan_s": 0.1,
    }
    settings = _settings(size, {**defaults, **declared.overrides()})
    text = word_tokenizer(_SENTENCES) if declared.tokenizer is None else TextEncoder.read(declared.tokenizer)
    torch.manual_seed(seed)
    return assemble(settings, None, ActionNormalization.identity(len(settings.action)), text)


def _settings(size: str, keys: Mapping[str, Any]) -> EndToEndSettings:
    pixels = _IMAGE_SIZE[size]
    camera = {"name": "front", "height": pixels, "width": pixels}
    raw = {"cameras": [camera], "model": PRESETS[size], "text": {"max_tokens": _MAX_TOKENS[size]}, **keys}
    return validated(EndToEndSettings, raw, f"preset {size}")


def _twist_and_gripper() -> list[dict[str, str]]:
    rate = {"semantics": "velocity", "frame": "base_link"}
    linear = [{"name": n, "quantity": "linear", "unit": "m/s", **rate} for n in _TWIST[:3]]
    angular = [{"name": n, "quantity": "angular", "unit": "rad/s", **rate} for n in _TWIST[3:]]
    return [*linear, *angular, {"name": "gripper", "quantity": "gripper", "unit": "1", "semantics": "absolute"}]
