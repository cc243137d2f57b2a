"""The file given to ``jetvla train --config``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from jetvla.engines.families import find_family
from jetvla.engines.families.settings import PolicySettings, Settings, validated
from jetvla.runtime.errors import ConfigError


class FlipSettings(Settings):
    """A mirrored image is another situation: what it mirrors must be declared.

    Attributes:
        dimensions: actions that change sign (about zero) when left and right are swapped.
        probability: of mirroring a sample.
    """

    dimensions: tuple[str, ...] = Field(min_length=1)
    probability: float = Field(default=0.5, gt=0, le=1)


class AugmentSettings(Settings):
    """What training does to samples; nothing that would need another action.

    Attributes:
        brightness, contrast, saturation: largest relative change, as in torchvision's ColorJitter.
        flip: mirroring, off unless declared.
        paraphrases: phrase to phrases that may replace it.
    """

    brightness: float = Field(default=0.2, ge=0, lt=1)
    contrast: float = Field(default=0.2, ge=0, lt=1)
    saturation: float = Field(default=0.2, ge=0, lt=1)
    flip: FlipSettings | None = None
    paraphrases: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class LoopSettings(Settings):
    """The training loop.

    Attributes:
        epochs: passes over the training episodes.
        batch_size: samples per step.
        learning_rate: peak of the cosine schedule.
        warmup: part of all steps in which the rate rises linearly.
        weight_decay: of AdamW, on matrices only.
        clip: largest norm of the gradient.
        seed: of weights, order, dropout and augmentation.
        held_out: part of the episodes that is never trained on.
        checkpoint_every: steps between checkpoints.
        memory_mb: resized images are kept in memory up to this size, else read when needed.
    """

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0)
    held_out: float = Field(default=0.1, ge=0, lt=1)
    checkpoint_every: int = Field(default=500, ge=1)
    memory_mb: int = Field(default=2048, ge=0)


class TrainingSettings(Settings):
    """``policy`` becomes the checkpoint's ``config.yaml``; ``tokenizer`` is a file, or words are taken from the
    instructions."""

    policy: dict[str, Any]
    training: LoopSettings = LoopSettings()
    augment: AugmentSettings = AugmentSettings()
    tokenizer: Path | None = None

    def policy_settings(self, vocabulary: int) -> PolicySettings:
        """The policy's settings, with ``vocabulary`` where the file leaves the language's size open.

        Raises:
            ConfigError: wrong settings, or a policy of a kind that is built but not trained here.
        """
        raw = dict(self.policy)
        family = find_family(str(raw.get("family", "end_to_end")))
        model = raw.get("model")
        if isinstance(model, dict) and isinstance(model.get("language"), dict):
            language = {**model["language"]}
            language["vocab_size"] = language.get("vocab_size") or vocabulary
            raw["model"] = {**model, "language": language}
        settings = family.settings(raw, "policy")
        if settings.text is None or settings.state or len(settings.cameras) > 1:
            raise ConfigError(
                f"policy: {settings.family}: a policy without language, with state or with several cameras is not "
                "trained here; train it with the tools that it comes from, and give 'jetvla build' its checkpoint"
            )
        return settings


def training_settings(raw: Mapping[str, Any], where: str, overrides: Mapping[str, Any]) -> TrainingSettings:
    """Validate a training file; ``overrides`` (without None) replace keys of ``training``."""
    loop = raw.get("training") or {}
    if not isinstance(loop, dict):
        raise ConfigError(f"{where}: training: must hold keys and values")
    given = {key: value for key, value in overrides.items() if value is not None}
    return validated(TrainingSettings, {**raw, "training": {**loop, **given}}, where)
