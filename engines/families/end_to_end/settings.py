"""Sizes of an ``end_to_end`` policy, and the ones that have a name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from jetvla.engines.families.settings import ImageNormalization, PolicySettings, Settings, TextSettings

Attention = Literal["corrected", "course"]


class VisionSettings(Settings):
    """A ViT (Dosovitskiy et al. 2020); the image size is the camera's.

    ``initial_std`` and ``initial_position_std`` are of random weights and position embeddings, before training. The
    default suits the base size; a narrow one trained from nothing needs about 1/sqrt(width), and positions as
    strong as the patches, or it hardly learns where things are.
    """

    patch_size: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    layers: int = Field(gt=0, le=1000)
    heads: int = Field(gt=0)
    mlp: int = Field(gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    initial_std: float = Field(default=0.02, gt=0)
    initial_position_std: float = Field(default=0.02, gt=0)


class LanguageSettings(Settings):
    """A DeBERTa-v2; the defaults are the published settings of v3 (He et al. 2021).

    ``vocab_size`` 0 means the tokenizer's size, and is filled in by training.
    """

    vocab_size: int = Field(default=0, ge=0)
    hidden_size: int = Field(gt=0)
    layers: int = Field(gt=0, le=1000)
    heads: int = Field(gt=0)
    mlp: int = Field(gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    embedding_size: int | None = Field(default=None, gt=0)
    max_positions: int = Field(default=512, gt=0)
    type_vocab_size: int = Field(default=0, ge=0)
    position_buckets: int = 256
    max_relative_positions: int = -1
    pos_att_type: tuple[Literal["p2c", "c2p"], ...] = ("p2c", "c2p")
    share_att_key: bool = True
    norm_rel_ebd: Literal["layer_norm", "none"] = "layer_norm"
    position_biased_input: bool = False
    conv_kernel_size: int = Field(default=0, ge=0)
    conv_act: str = "tanh"
    pad_id: int = Field(default=0, ge=0)
    initial_std: float = Field(default=0.02, gt=0)


class FusionSettings(Settings):
    """A post-norm ReLU transformer, as ``nn.TransformerEncoderLayer`` is by default."""

    layers: int = Field(default=6, gt=0, le=1000)
    heads: int = Field(default=8, gt=0)
    feed_forward: int = Field(default=2048, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)


class ModelSettings(Settings):
    """``hidden``: width of the fusion; an encoder of another width gets a linear projection."""

    hidden: int = Field(gt=0)
    vision: VisionSettings
    language: LanguageSettings
    fusion: FusionSettings = FusionSettings()


class EndToEndSettings(PolicySettings):
    """``config.yaml`` of this family.

    ``attention``: ``course`` computes what the course's code computes, whose fusion lacks ``batch_first``: tokens
    attend across the batch and not across the sequence. ``corrected`` is what it means.
    """

    family: Literal["end_to_end"] = "end_to_end"
    attention: Attention = "corrected"
    image: ImageNormalization = ImageNormalization()
    text: TextSettings = TextSettings()
    model: ModelSettings

    @model_validator(mode="after")
    def _consistent(self) -> EndToEndSettings:
        if len(self.cameras) != 1 or self.state:
            raise ValueError("family end_to_end takes exactly one camera and no state")
        model, camera = self.model, self.cameras[0]
        if camera.height % model.vision.patch_size or camera.width % model.vision.patch_size:
            raise ValueError(f"camera {camera.name}: height and width must be multiples of model.vision.patch_size")
        if self.text.max_tokens > model.language.max_positions:
            raise ValueError("text.max_tokens is above model.language.max_positions")
        widths = {
            "model.vision.heads": (model.vision.hidden_size, model.vision.heads),
            "model.language.heads": (model.language.hidden_size, model.language.heads),
            "model.fusion.heads": (model.hidden, model.fusion.heads),
        }
        wrong = [f"{key} {heads} does not divide {width}" for key, (width, heads) in widths.items() if width % heads]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


# ViT-B/16 and DeBERTa-v3-base with the course's fusion.
BASE = ModelSettings(
    hidden=768,
    vision=VisionSettings(patch_size=16, hidden_size=768, layers=12, heads=12, mlp=3072),
    language=LanguageSettings(vocab_size=128100, hidden_size=768, layers=12, heads=12, mlp=3072),
)
# Small enough for a unit test; unequal widths, so that both projections are there.
TINY = ModelSettings(
    hidden=24,
    vision=VisionSettings(patch_size=8, hidden_size=16, layers=2, heads=2, mlp=32),
    language=LanguageSettings(
        vocab_size=64, hidden_size=16, layers=2, heads=2, mlp=32, max_positions=32, position_buckets=8
    ),
    fusion=FusionSettings(layers=3, heads=4, feed_forward=48),
)
PRESETS: dict[str, ModelSettings] = {"base": BASE, "tiny": TINY}
