"""The row of :data:`jetvla.engines.families.FAMILIES` for ``end_to_end``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from jetvla.engines.families.end_to_end import blocks
from jetvla.engines.families.end_to_end.graphs import LanguageGraph, StepGraph
from jetvla.engines.families.end_to_end.network import EndToEndVLA
from jetvla.engines.families.end_to_end.settings import EndToEndSettings
from jetvla.engines.families.family import Batch, ExportPlan, GraphSource, PolicyFamily
from jetvla.engines.families.settings import ActionNormalization, PolicySettings, validated
from jetvla.runtime.errors import ConfigError

TEXT_OUTPUTS = ("text_features", "text_mask", "text_key", "text_value")
# A word embedding above this many bytes stays out of the graph.
EMBEDDING_IN_GRAPH = 16 << 20

# transformers 5 renamed ViT's parameters; checkpoints of transformers 4 have the left names.
_RENAMED: tuple[tuple[str, str], ...] = (
    (r"^vision_encoder\.encoder\.layer\.", "vision_encoder.layers."),
    (r"^(vision_encoder\.layers\.\d+)\.attention\.attention\.query\.", r"\1.attention.q_proj."),
    (r"^(vision_encoder\.layers\.\d+)\.attention\.attention\.key\.", r"\1.attention.k_proj."),
    (r"^(vision_encoder\.layers\.\d+)\.attention\.attention\.value\.", r"\1.attention.v_proj."),
    (r"^(vision_encoder\.layers\.\d+)\.attention\.output\.dense\.", r"\1.attention.o_proj."),
    (r"^(vision_encoder\.layers\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"^(vision_encoder\.layers\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)
# The course's AutoModel has a pooler, which its forward never reads; the other two are constants of old versions.
_UNUSED = re.compile(
    r"^vision_encoder\.pooler\.|^language_encoder\.embeddings\.position_ids$|^vision_encoder\.embeddings\.mask_token$"
)


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


class EndToEnd:
    """See :class:`jetvla.engines.families.family.PolicyFamily`."""

    def settings(self, raw: Mapping[str, Any], where: str) -> EndToEndSettings:
        return validated(EndToEndSettings, raw, where)

    def network(self, settings: PolicySettings, vocabulary: int) -> EndToEndVLA:
        assert isinstance(settings, EndToEndSettings)
        if settings.model.language.vocab_size < vocabulary:
            raise ConfigError(
                f"model.language.vocab_size is {settings.model.language.vocab_size}, and the tokenizer has "
                f"{vocabulary} ids; use the tokenizer that the policy was trained with"
            )
        return EndToEndVLA(settings)

    def canonical(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {_renamed(name): tensor for name, tensor in state.items() if not _UNUSED.match(name)}

    def act(self, network: nn.Module, settings: PolicySettings, batch: Batch) -> Tensor:
        actions: Tensor = network(batch.images[settings.cameras[0].name], batch.input_ids, batch.attention_mask)
        return actions

    def export_plan(self, network: nn.Module, settings: PolicySettings, actions: ActionNormalization) -> ExportPlan:
        assert isinstance(network, EndToEndVLA)
        assert isinstance(settings, EndToEndSettings)
        network.eval()
        table: Tensor = network.language_encoder.get_input_embeddings().weight.detach()
        outside = table.nbytes > EMBEDDING_IN_GRAPH
        language = _language_source(network, settings, table if outside else None)
        return ExportPlan((language, _step_source(network, settings, actions, language)), table if outside else None)

    def block(self, module: str) -> str:
        return blocks.block(module)


def _language_source(network: EndToEndVLA, settings: EndToEndSettings, table: Tensor | None) -> GraphSource:
    length = settings.text.max_tokens
    words = (
        {"input_ids": torch.ones(1, length, dtype=torch.int64)}
        if table is None
        else {"input_embeds": torch.zeros(1, length, table.shape[1])}
    )
    mask = torch.ones(1, length, dtype=torch.int64)
    module = LanguageGraph(network, embeds=table is not None).eval()
    return GraphSource("language", module, {**words, "attention_mask": mask}, TEXT_OUTPUTS)


def _step_source(
    network: EndToEndVLA, settings: PolicySettings, actions: ActionNormalization, language: GraphSource
) -> GraphSource:
    camera = settings.cameras[0]
    image = torch.zeros(1, camera.height, camera.width, 3, dtype=torch.uint8)
    with torch.no_grad():
        text = language.module(*language.inputs.values())
    inputs = {f"image_{camera.name}": image, **dict(zip(TEXT_OUTPUTS, text, strict=True))}
    return GraphSource("step", StepGraph(network, actions).eval(), inputs, ("actions",))


FAMILY: PolicyFamily = EndToEnd()
