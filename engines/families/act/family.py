"""The row of :data:`jetvla.engines.families.FAMILIES` for ``act``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from jetvla.engines.families.act.graphs import StepGraph
from jetvla.engines.families.act.network import ActNetwork
from jetvla.engines.families.act.settings import ActSettings
from jetvla.engines.families.family import Batch, ExportPlan, GraphSource, PolicyFamily
from jetvla.engines.families.settings import ActionNormalization, PolicySettings, validated

# The variational encoder reads demonstrated actions, in training only; older LeRobot kept the normalisation here.
_UNUSED = re.compile(r"^model\.vae_encoder|^(un)?normalize_(inputs|targets|outputs)\.")

# Patterns of dotted module paths, and what people call them; the first that fits counts.
_BLOCKS: tuple[tuple[str, str], ...] = (
    (r"backbone\.layer(\d+)\.(\d+)", r"ResNet layer \1 block \2"),
    (r"backbone", r"ResNet stem"),
    (r"encoder_img_feat_input_proj", r"image projection"),
    (r"encoder_robot_state_input_proj", r"state projection"),
    (r"(encoder|decoder)\.layers\.(\d+)\.(?:layer\.)?self_attn", r"\1 layer \2 attention"),
    (r"decoder\.layers\.(\d+)\.(?:layer\.)?multihead_attn", r"decoder layer \1 cross-attention"),
    (r"(encoder|decoder)\.layers\.(\d+)\.(?:layer\.)?linear", r"\1 layer \2 feed-forward"),
    (r"(encoder|decoder)\.layers\.(\d+)", r"\1 layer \2"),
    (r"action_head", r"action head"),
)


class Act:
    """See :class:`jetvla.engines.families.family.PolicyFamily`."""

    def settings(self, raw: Mapping[str, Any], where: str) -> ActSettings:
        return validated(ActSettings, raw, where)

    def network(self, settings: PolicySettings, vocabulary: int) -> ActNetwork:
        assert isinstance(settings, ActSettings)
        return ActNetwork(settings)

    def canonical(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in state.items() if not _UNUSED.match(name)}

    def act(self, network: nn.Module, settings: PolicySettings, batch: Batch) -> Tensor:
        actions: Tensor = network(batch.images, batch.state)
        return actions

    def export_plan(self, network: nn.Module, settings: PolicySettings, actions: ActionNormalization) -> ExportPlan:
        assert isinstance(network, ActNetwork)
        inputs = {
            f"image_{camera.name}": torch.zeros(1, camera.height, camera.width, 3, dtype=torch.uint8)
            for camera in settings.cameras
        }
        if settings.state:
            inputs["state"] = torch.zeros(1, len(settings.state))
        return ExportPlan((GraphSource("step", StepGraph(network, actions).eval(), inputs, ("actions",)),), None)

    def block(self, module: str) -> str:
        for pattern, name in _BLOCKS:
            found = re.search(rf"(?:^|\.){pattern}", module)
            if found:
                return found.expand(name)
        return ""


FAMILY: PolicyFamily = Act()
