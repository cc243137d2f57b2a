"""The network: two encoders, fusion, action head. Parameter names are the course's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import DebertaV2Config, DebertaV2Model, ViTConfig, ViTModel

from jetvla.engines.families.end_to_end.fusion import CourseFusion, Fusion, TextContext
from jetvla.engines.families.end_to_end.settings import EndToEndSettings, LanguageSettings, VisionSettings

PIXEL_MAX = 255.0


def _vision_encoder(sizes: VisionSettings, height: int, width: int) -> ViTModel:
    config = ViTConfig(
        image_size=[height, width],
        patch_size=sizes.patch_size,
        hidden_size=sizes.hidden_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.mlp,
        hidden_dropout_prob=sizes.dropout,
        attention_probs_dropout_prob=sizes.dropout,
        initializer_range=sizes.initial_std,
        attn_implementation="eager",
    )
    encoder = ViTModel(config, add_pooling_layer=False)
    torch.nn.init.normal_(encoder.embeddings.position_embeddings, std=sizes.initial_position_std)
    return encoder


def _language_encoder(sizes: LanguageSettings) -> DebertaV2Model:
    config = DebertaV2Config(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.hidden_size,
        embedding_size=sizes.embedding_size or sizes.hidden_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.mlp,
        hidden_dropout_prob=sizes.dropout,
        attention_probs_dropout_prob=sizes.dropout,
        max_position_embeddings=sizes.max_positions,
        type_vocab_size=sizes.type_vocab_size,
        relative_attention=bool(sizes.pos_att_type),
        pos_att_type=list(sizes.pos_att_type),
        position_buckets=sizes.position_buckets,
        max_relative_positions=sizes.max_relative_positions,
        share_att_key=sizes.share_att_key,
        norm_rel_ebd=sizes.norm_rel_ebd,
        position_biased_input=sizes.position_biased_input,
        conv_kernel_size=sizes.conv_kernel_size,
        conv_act=sizes.conv_act,
        pad_token_id=sizes.pad_id,
        initializer_range=sizes.initial_std,
        attn_implementation="eager",
    )
    return DebertaV2Model(config)


def _projection(inside: int, outside: int) -> nn.Module:
    return nn.Identity() if inside == outside else nn.Linear(inside, outside)


class EndToEndVLA(nn.Module):
    """Images and instructions in, normalised action chunks out."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, settings: EndToEndSettings) -> None:
        super().__init__()
        model, camera = settings.model, settings.cameras[0]
        self.horizon, self.dimensions = settings.horizon, len(settings.action)
        self.vision_encoder = _vision_encoder(model.vision, camera.height, camera.width)
        self.language_encoder = _language_encoder(model.language)
        self.vision_projection = _projection(model.vision.hidden_size, model.hidden)
        self.language_projection = _projection(model.language.hidden_size, model.hidden)
        fusion = CourseFusion if settings.attention == "course" else Fusion
        self.fusion = fusion(model.hidden, model.fusion)
        self.action_head = nn.Sequential(
            nn.Linear(model.hidden, model.hidden),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(model.hidden, self.horizon * self.dimensions),
        )
        self.register_buffer("image_mean", torch.tensor(settings.image.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(settings.image.std).view(3, 1, 1), persistent=False)

    def see(self, images: Tensor) -> Tensor:
        """Vision tokens [B, 1 + patches, C] of uint8 or 0-255 float images [B, H, W, 3]."""
        # TensorRT takes uint8 as an input only, and computes nothing with it but a cast.
        pixels = images.to(self.image_mean.dtype).permute(0, 3, 1, 2) / PIXEL_MAX
        # ViTModel.forward does the same, and adds a mask of zeros to every layer's scores, also in the exported graph.
        tokens = self.vision_encoder.embeddings((pixels - self.image_mean) / self.image_std)
        for layer in self.vision_encoder.layers:
            tokens = layer(tokens, None)
        projected: Tensor = self.vision_projection(self.vision_encoder.layernorm(tokens))
        return projected

    def read(self, input_ids: Tensor, attention_mask: Tensor) -> TextContext:
        """Text of int64 ids and mask [B, L]."""
        tokens = self.language_encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return TextContext(self.language_projection(tokens), attention_mask.to(tokens.dtype))

    def read_once(self, input_ids: Tensor, attention_mask: Tensor) -> TextContext:
        """As :meth:`read`, each different instruction of the batch once: in training they repeat a lot."""
        rows, where = torch.unique(torch.stack([input_ids, attention_mask], 1), dim=0, return_inverse=True)
        text = self.read(rows[:, 0], rows[:, 1])
        return TextContext(text.features[where], text.mask[where])

    def decide(self, token: Tensor) -> Tensor:
        """Normalised actions [B, horizon, D] from the fused token 0 [B, C]."""
        flat: Tensor = self.action_head(token)
        return flat.view(-1, self.horizon, self.dimensions)

    def forward(self, images: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """See :meth:`jetvla.engines.families.family.PolicyFamily.network`."""
        read = self.read_once if self.training else self.read
        return self.decide(self.fusion(self.see(images), read(input_ids, attention_mask)))
