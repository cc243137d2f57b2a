"""How LeRobot normalised a policy's inputs and actions.

LeRobot 0.4 and later keep the statistics in processor files beside the weights, earlier ones among the weights. The two
divide by slightly different numbers where a range is empty or small; each is followed to the letter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jetvla.engines.checkpoint import read_state
from jetvla.runtime.errors import CheckpointError, ConfigError

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
_EARLY_EPSILON = 1e-8
# Statistics that bound the range which becomes -1 to 1.
_RANGES = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
MODES = ("IDENTITY", "MEAN_STD", *_RANGES)
# Steps of a processor that change nothing, as long as _check_step finds nothing.
_NEUTRAL = ("rename_observations_processor", "to_batch_processor", "device_processor")


@dataclass(frozen=True)
class Affine:
    """``(x - mean) / std + offset``, or its inverse; one number per channel or dimension."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    offset: tuple[float, ...]

    def centred(self) -> dict[str, tuple[float, ...]]:
        """Mean and std of the same without an offset."""
        mean = (m - o * s for m, s, o in zip(self.mean, self.std, self.offset, strict=True))
        return {"mean": tuple(mean), "std": self.std}


@dataclass(frozen=True)
class Normalizer:
    """Statistics of features, and what to do with them.

    Attributes:
        where: file or files that hold the statistics, for messages.
        modes: one of :data:`MODES` by feature type (``VISUAL``, ``STATE``, ``ACTION``).
        tensors: statistics by ``<prefix><statistic>``.
        prefixes: of ``tensors``, by feature.
        epsilon: what keeps divisors from being zero.
        early: whether it is LeRobot's before 0.4.
        only: observations that are normalised; None for all.
    """

    where: str
    modes: Mapping[str, str]
    tensors: Mapping[str, Tensor]
    prefixes: Mapping[str, str]
    epsilon: float
    early: bool
    only: tuple[str, ...] | None = None

    def forward(self, feature: str, kind: str, size: int) -> Affine:
        """How observation ``feature`` of ``size`` numbers or channels is normalised."""
        mode = self._mode(feature, kind)
        if mode == "MEAN_STD":
            mean, std = (self._read(feature, name, size) for name in ("mean", "std"))
            return _affine(mean, std + self.epsilon)
        return self._ranged(feature, mode, size, always=self.early)

    def inverse(self, feature: str, kind: str, size: int) -> Affine:
        """How ``feature`` was normalised, as far as its inverse needs it."""
        mode = self._mode(feature, kind)
        if mode == "MEAN_STD":
            return _affine(self._read(feature, "mean", size), self._read(feature, "std", size))
        return self._ranged(feature, mode, size, always=False)

    def _mode(self, feature: str, kind: str) -> str:
        if self.only is not None and feature not in self.only and kind != "ACTION":
            return "IDENTITY"
        return self.modes.get(kind, "IDENTITY")

    def _ranged(self, feature: str, mode: str, size: int, always: bool) -> Affine:
        if mode == "IDENTITY":
            return _affine(torch.zeros(size), torch.ones(size))
        low, high = (self._read(feature, name, size) for name in _RANGES[mode])
        span = high - low
        if always:
            span = span + self.epsilon
        elif not self.early:
            span = torch.where(span == 0, self.epsilon, span)
        return _affine(low, span / 2, -1.0)

    def _read(self, feature: str, statistic: str, size: int) -> Tensor:
        name = f"{self.prefixes[feature]}{statistic}"
        if name not in self.tensors:
            raise CheckpointError(f"{self.where} has no {name}, which normalises {feature}; save the policy again")
        values = self.tensors[name].double().flatten()
        if len(values) != size or not torch.isfinite(values).all():
            raise CheckpointError(f"{self.where}: {name} must be {size} finite numbers, not {values.tolist()}")
        return values


def _affine(mean: Tensor, std: Tensor, offset: float = 0.0) -> Affine:
    return Affine(tuple(mean.tolist()), tuple(std.tolist()), (offset,) * len(mean))


def read_normalizers(
    folder: Path, features: tuple[str, ...], modes: Mapping[str, str], weights: Mapping[str, Tensor]
) -> tuple[Normalizer, Normalizer]:
    """What normalises the observations and what un-normalises the actions.

    Args:
        folder: of the policy.
        features: all observations and the action, by LeRobot's names.
        modes: ``normalization_mapping`` of ``config.json``, which counts where there are no processor files.
        weights: all tensors of ``model.safetensors``.

    Raises:
        CheckpointError: if a processor's file is missing or damaged.
        ConfigError: if a processor does something that jetvla does not do.
    """
    present = [(folder / name).is_file() for name in (PREPROCESSOR, POSTPROCESSOR)]
    if all(present):
        before = _processor(folder / PREPROCESSOR, "normalizer_processor", features)
        return before, _processor(folder / POSTPROCESSOR, "unnormalizer_processor", features)
    if any(present):
        missing = POSTPROCESSOR if present[0] else PREPROCESSOR
        raise CheckpointError(f"{folder / missing} is missing; it holds normalisation statistics")
    where = f"{folder} (no {PREPROCESSOR} and {POSTPROCESSOR}, so that weights must hold the statistics)"

    def early(module: str) -> Normalizer:
        prefixes = {feature: f"{module}.buffer_{feature.replace('.', '_')}." for feature in features}
        return Normalizer(where, modes, weights, prefixes, _EARLY_EPSILON, early=True)

    return early("normalize_inputs"), early("unnormalize_outputs")


def _processor(path: Path, wanted: str, features: tuple[str, ...]) -> Normalizer:
    steps = read_json(path).get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise CheckpointError(f"{path} has no list of steps; save the policy again")
    names = [str(step.get("registry_name", step.get("class"))) for step in steps]
    unknown = [name for name in names if name not in (*_NEUTRAL, wanted)]
    if unknown or names.count(wanted) != 1:
        found = ", ".join(unknown) or f"{names.count(wanted)} of {wanted}"
        raise ConfigError(f"{path}: jetvla cannot do as this processor does ({found}); retrain without it")
    for name, step in zip(names, steps, strict=True):
        config = step.get("config") or {}
        if not isinstance(config, dict) or not isinstance(config.get("norm_map") or {}, dict):
            raise CheckpointError(f"{path}: {name} has no configuration of keys and values; save the policy again")
        _check_step(name, config, path)
    return _normalizer(path, steps[names.index(wanted)], features)


def _check_step(name: str, config: Mapping[str, Any], path: Path) -> None:
    for option, harmless in (("rename_map", ({}, None)), ("float_dtype", (None, "float32"))):
        if name in _NEUTRAL and config.get(option) not in harmless:
            raise ConfigError(f"{path}: {name} has {option} {config[option]!r}, which jetvla does not do")
    for mode in (config.get("norm_map") or {}).values():
        if mode not in MODES:
            raise ConfigError(f"{path}: normalisation {mode!r} is unknown; jetvla knows {', '.join(MODES)}")


def _normalizer(path: Path, step: Mapping[str, Any], features: tuple[str, ...]) -> Normalizer:
    config, name = step.get("config") or {}, str(step.get("state_file"))
    if Path(name).name != name or not (path.parent / name).is_file():
        raise CheckpointError(f"{path.parent / name} is missing; {path.name} names it for normalisation statistics")
    only = config.get("normalize_observation_keys")
    return Normalizer(
        where=str(path.parent / name),
        modes=config.get("norm_map") or {},
        tensors=read_state(path.parent / name),
        prefixes={feature: f"{feature}." for feature in features},
        epsilon=float(config.get("eps", 1e-8)),
        early=False,
        only=None if only is None else tuple(only),
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; CheckpointError if the file is missing or anything else."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not {type(raw).__name__}")
    return raw
