"""Checkpoints: ``config.yaml``, weights, ``tokenizer.json`` and ``normalization.json`` in one folder."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from jetvla.engines.families import find_family
from jetvla.engines.families.family import PolicyFamily
from jetvla.engines.families.settings import ActionNormalization, PolicySettings, validated
from jetvla.engines.policy import Policy
from jetvla.engines.text import TextEncoder
from jetvla.runtime.errors import CheckpointError, ConfigError

CONFIG = "config.yaml"
WEIGHTS = "model.safetensors"
PICKLED_WEIGHTS = "model.pt"
TOKENIZER = "tokenizer.json"
NORMALIZATION = "normalization.json"


def load_checkpoint(folder: Path, overrides: Mapping[str, Any] | None = None) -> Policy:
    """Read a checkpoint folder.

    Args:
        folder: see the module's docstring; ``model.pt`` may stand for ``model.safetensors``.
        overrides: top-level keys that replace those of ``config.yaml``.

    Raises:
        CheckpointError: naming the missing file, or listing every tensor that does not fit.
        ConfigError: naming every wrong key of ``config.yaml``.
    """
    if not (folder / CONFIG).exists():
        raise CheckpointError(f"{folder} is no checkpoint: it has neither {CONFIG} nor LeRobot's config.json")
    raw = {**read_yaml(folder / CONFIG), **(overrides or {})}
    try:
        family = find_family(str(raw.get("family", "end_to_end")))
    except ConfigError as error:
        raise ConfigError(f"{folder / CONFIG}: {error}") from None
    settings = family.settings(raw, str(folder / CONFIG))
    weights = folder / WEIGHTS if (folder / WEIGHTS).is_file() else folder / PICKLED_WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{folder} has neither {WEIGHTS} nor {PICKLED_WEIGHTS}")
    actions = _read_normalization(folder / NORMALIZATION, settings)
    text = None if settings.text is None else TextEncoder.read(folder / TOKENIZER)
    return assemble(settings, weights, actions, text)


def assemble(
    settings: PolicySettings, weights: Path | None, actions: ActionNormalization, text: TextEncoder | None
) -> Policy:
    """A policy from its parts; random weights (from torch's generator) if ``weights`` is None."""
    family = find_family(settings.family)
    vocabulary = 0 if text is None else text.size
    if weights is None:
        network = family.network(settings, vocabulary)
    else:
        network = trained_network(family, settings, vocabulary, family.canonical(read_state(weights)), weights)
    return Policy(family, settings, network.eval(), actions, text)


def save_checkpoint(policy: Policy, folder: Path) -> None:
    """Write ``policy`` to ``folder``; every file appears atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / CONFIG, yaml.safe_dump(policy.settings.model_dump(mode="json"), sort_keys=False).encode())
    if policy.text is not None:
        _replace(folder / TOKENIZER, policy.text.json.encode())
    _replace(folder / NORMALIZATION, policy.actions.model_dump_json(indent=1).encode())
    partial = folder / f".{WEIGHTS}.partial"
    save_file({name: tensor.contiguous() for name, tensor in policy.network.state_dict().items()}, partial)
    partial.replace(folder / WEIGHTS)


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping; ConfigError if the file is missing or anything else."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold keys and values, not {type(raw).__name__}")
    return raw


def _read_normalization(path: Path, settings: PolicySettings) -> ActionNormalization:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot read {path}: {error}; it holds the mean and std of every action") from error
    actions = validated(ActionNormalization, raw, str(path))
    wrong = {len(actions.mean), len(actions.std)} - {len(settings.action)}
    if wrong:
        raise CheckpointError(
            f"{path}: mean and std must have {len(settings.action)} numbers, not {wrong.pop()}: the action spec "
            f"describes {', '.join(settings.action.names)}; take the one that the policy was trained with"
        )
    return actions


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name from ``.safetensors`` or a pickled state dict, of which nothing but tensors is accepted."""
    state = _read_safetensors(path) if path.suffix == ".safetensors" else read_pickle(path)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} is not a state dict; save it with torch.save(model.state_dict(), FILE)")
    return dict(state)


def _read_safetensors(path: Path) -> object:
    try:
        # The library says of every file that it cannot open that there is none.
        path.open("rb").close()
        return load_file(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}; copy the checkpoint again") from error


def read_pickle(path: Path) -> object:
    """What ``torch.save`` wrote, of tensors and plain values only; CheckpointError if it is damaged or holds more."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damaged bytes make the unpickler raise anything, such as KeyError
        raise CheckpointError(f"{path} is {_fault(error)}") from error


def _fault(error: Exception) -> str:
    """In our own words: PyTorch's advise to load the file in spite of it."""
    found = re.search(r"\bGLOBAL (\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and found is not None:
        return (
            f"unsafe to load: it holds {found[1]}, which is code and no tensor; nothing of it was run. "
            "Save the weights alone, with torch.save(model.state_dict(), FILE)"
        )
    return f"damaged, or no file of torch.save ({type(error).__name__}); copy it again"


def trained_network(
    family: PolicyFamily, settings: PolicySettings, vocabulary: int, state: dict[str, Tensor], path: Path
) -> nn.Module:
    """The network of ``settings`` with the tensors ``state`` of ``path``.

    Raises:
        CheckpointError: listing every tensor that does not fit. No memory is taken before all do, however large a
            mistyped number makes the network.
    """
    try:
        with torch.device("meta"):
            sketch = family.network(settings, vocabulary)
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(f"{path}: no network has the configured sizes: {str(error).splitlines()[0]}") from error
    _check_fits(sketch, state, path)
    network = family.network(settings, vocabulary)
    network.load_state_dict(state)
    return network


def _check_fits(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    own = network.state_dict()
    problems = [f"missing: {name} {list(own[name].shape)}" for name in own if name not in state]
    problems += [f"unknown: {name} {list(state[name].shape)}" for name in state if name not in own]
    for name in own.keys() & state.keys():
        if own[name].is_floating_point() != state[name].is_floating_point():
            problems.append(f"of another type: {name} is {state[name].dtype}, must be {own[name].dtype}")
        elif own[name].shape != state[name].shape:
            problems.append(f"mis-shaped: {name} is {list(state[name].shape)}, must be {list(own[name].shape)}")
        elif not torch.isfinite(state[name]).all():
            problems.append(f"not finite: {name}")
    if problems:
        listing = "\n  ".join(sorted(problems))
        raise CheckpointError(f"{path} does not fit its configuration ({len(problems)} tensors):\n  {listing}")
