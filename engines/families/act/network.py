"""The network. Parameter names are LeRobot's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from jetvla.engines.families.act.backbone import ResNet
from jetvla.engines.families.act.settings import ActSettings
from jetvla.engines.families.act.transformer import Decoder, Encoder

PIXEL_MAX = 255.0
_TEMPERATURE = 10000.0


def _waves(count: int, width: int) -> Tensor:
    """Sines and cosines [count, width] of 1..count, scaled to one turn; their periods grow along the width."""
    turns = torch.arange(1, count + 1) / (count + 1e-6) * (2 * math.pi)
    periods = _TEMPERATURE ** (2 * torch.arange(width // 2) / width)
    angles = turns[:, None] / periods
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def image_positions(height: int, width: int, channels: int) -> Tensor:
    """Position embedding [height * width, channels] of a feature map (Carion et al. 2020): rows, then columns."""
    rows = _waves(height, channels // 2)[:, None].expand(-1, width, -1)
    columns = _waves(width, channels // 2)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


class ActModel(nn.Module):
    """Normalised images and state to normalised actions.

    The tokens are: the latent, the state if the policy has one, and every camera's feature map.
    """

    image_position: Tensor

    def __init__(self, settings: ActSettings) -> None:
        super().__init__()
        sizes, camera = settings.model, settings.cameras[0]
        self.backbone = ResNet(sizes.backbone, sizes.dilated)
        self.encoder, self.decoder = Encoder(sizes), Decoder(sizes)
        if settings.state:
            self.encoder_robot_state_input_proj = nn.Linear(len(settings.state), sizes.hidden)
        self.encoder_latent_input_proj = nn.Linear(sizes.latent, sizes.hidden)
        self.encoder_img_feat_input_proj = nn.Conv2d(self.backbone.channels, sizes.hidden, 1)
        self.encoder_1d_feature_pos_embed = nn.Embedding(2 if settings.state else 1, sizes.hidden)
        self.decoder_pos_embed = nn.Embedding(settings.horizon, sizes.hidden)
        self.action_head = nn.Linear(sizes.hidden, len(settings.action))
        height, width = (math.ceil(size / self.backbone.stride) for size in (camera.height, camera.width))
        one = image_positions(height, width, sizes.hidden)
        self.register_buffer("image_position", one.repeat(len(settings.cameras), 1), persistent=False)

    def token_positions(self) -> Tensor:
        """Positions of all tokens, [1, S, C]."""
        return torch.cat([self.encoder_1d_feature_pos_embed.weight, self.image_position])[None]

    def action_positions(self) -> Tensor:
        """Positions of the decoder's rows, [1, H, C]."""
        return self.decoder_pos_embed.weight[None]

    def tokens(self, images: Tensor, state: Tensor | None) -> Tensor:
        """Tokens [B, S, C] of images [cameras * B, 3, H, W], the first camera's first, and state [B, S]."""
        seen = self.encoder_img_feat_input_proj(self.backbone(images)).flatten(2)
        pixels, channels = seen.shape[2], seen.shape[1]
        cameras = self.image_position.shape[0] // pixels
        seen = seen.reshape(cameras, -1, channels, pixels).permute(1, 0, 3, 2).reshape(-1, cameras * pixels, channels)
        # The latent is zero at inference, so that only the bias of its projection is left.
        vectors = [self.encoder_latent_input_proj.bias.expand(seen.shape[0], 1, -1)]
        if state is not None:
            vectors.append(self.encoder_robot_state_input_proj(state[:, None]))
        return torch.cat([*vectors, seen], dim=1)

    def forward(self, images: Tensor, state: Tensor | None) -> Tensor:
        """Normalised actions [B, horizon, D]."""
        position = self.token_positions()
        memory = self.encoder(self.tokens(images, state), position)
        actions: Tensor = self.action_head(self.decoder(memory, self.action_positions(), position))
        return actions


class ActNetwork(nn.Module):
    """Images and state in physical units in, normalised action chunks out."""

    image_scale: Tensor
    image_offset: Tensor
    state_mean: Tensor
    state_std: Tensor
    state_offset: Tensor

    def __init__(self, settings: ActSettings) -> None:
        super().__init__()
        self.cameras = tuple(camera.name for camera in settings.cameras)
        self.model = ActModel(settings)
        mean, std = (
            torch.tensor([getattr(settings.images[name], part) for name in self.cameras], dtype=torch.float64)
            for part in ("mean", "std")
        )
        self._constant("image_scale", (1 / (PIXEL_MAX * std))[..., None, None])
        self._constant("image_offset", (-mean / std)[..., None, None])
        for part in ("mean", "std", "offset"):
            self._constant(f"state_{part}", torch.tensor(getattr(settings.state_normalization, part)))

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.float(), persistent=False)

    def forward(self, images: Mapping[str, Tensor], state: Tensor | None) -> Tensor:
        """uint8 or 0-255 float images [B, H, W, 3] by camera, and state [B, S] (None for a policy without), to
        actions [B, horizon, D]."""
        seen = []
        for name, scale, offset in zip(self.cameras, self.image_scale, self.image_offset, strict=True):
            # TensorRT takes uint8 as an input only, and computes nothing with it but a cast.
            seen.append(images[name].to(scale.dtype).permute(0, 3, 1, 2) * scale + offset)
        # In this order: the std of a number that never moved is tiny.
        posture = None if state is None else (state - self.state_mean) / self.state_std + self.state_offset
        actions: Tensor = self.model(torch.cat(seen) if len(seen) > 1 else seen[0], posture)
        return actions
