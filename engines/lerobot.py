"""Policies as LeRobot saves them: ``config.json``, ``model.safetensors`` and processor files in one folder."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

from jetvla.engines.checkpoint import trained_network
from jetvla.engines.families import find_family
from jetvla.engines.policy import Policy
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.errors import CheckpointError
from jetvla.runtime.manifest import ResizeSpec

CONFIG, WEIGHTS = "config.json", "model.safetensors"
# LeRobot's "type" of a policy, which is also our family's name, and the module whose ``read_lerobot`` reads it.
READERS: dict[str, str] = {
    "act": "jetvla.engines.families.act.lerobot",
}


def is_lerobot(folder: Path) -> bool:
    """Whether LeRobot saved a policy in ``folder``; CheckpointError if that cannot be told."""
    try:
        return (folder / CONFIG).is_file()
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror}; give this user access to it") from error


def load_lerobot(
    folder: Path,
    action: ActionSpec | None,
    state: tuple[str, ...] | None,
    resize: ResizeSpec | None,
    rate_hz: float | None,
) -> Policy:
    """The policy in ``folder``.

    Args:
        folder: as LeRobot's ``save_pretrained`` wrote it.
        action: meaning of every action dimension, which LeRobot does not record.
        state: names of the state's numbers.
        resize: how training made the network's input from the camera's image.
        rate_hz: steps of a chunk per second.

    Raises:
        CheckpointError: what is missing or damaged, or a kind of policy that jetvla does not know.
        ConfigError: listing everything that must be stated and is not.
    """
    kind = _kind(folder / CONFIG)
    if kind not in READERS:
        raise CheckpointError(f"{folder / CONFIG}: policy type {kind!r} is unknown; jetvla reads {', '.join(READERS)}")
    reader = importlib.import_module(READERS[kind])
    settings, weights, actions = reader.read_lerobot(folder, action=action, state=state, resize=resize, rate_hz=rate_hz)
    family = find_family(kind)
    network = trained_network(family, settings, 0, weights, folder / WEIGHTS)
    return Policy(family, settings, network.eval(), actions, None)


def _kind(path: Path) -> str:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}); copy the checkpoint again") from error
    return str(raw.get("type")) if isinstance(raw, dict) else "none"
