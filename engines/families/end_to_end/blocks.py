"""What people call the parts of an ``end_to_end`` network. Numbers begin at 1."""

from __future__ import annotations

import re

_FUSION = re.compile(
    r"fusion\.(first|last|middle\.(?P<middle>\d+)|layers\.(?P<lonely>\d+))(\.layer)?(\.(?P<part>\w+)|$)"
)
# Everything else directly in a fusion layer is its attention, whose projections are no modules of their own.
_FEED_FORWARD = ("linear1", "activation", "linear2", "norm2")
_NAMES = {
    "network.vision_encoder.layernorm": "vision norm",
    "network.vision_projection": "vision projection",
    "network.action_head": "action head",
    # Of the language graph.
    "encoder.embeddings": "text embedding",
    "projection": "text projection",
    "key": "text keys and values",
    "value": "text keys and values",
}


def block(module: str) -> str:
    """See :meth:`jetvla.engines.families.family.PolicyFamily.block`; paths are those of the exported modules."""
    if module.startswith("network.vision_encoder.embeddings"):
        return "patch embedding"
    if match := re.match(r"network\.vision_encoder\.layers\.(\d+)\.(\w+)", module):
        return f"ViT block {int(match[1]) + 1} {'MLP' if match[2] in ('mlp', 'layernorm_after') else 'attention'}"
    if match := _FUSION.match(module):
        return f"{_layer(match)} {'feed-forward' if match['part'] in _FEED_FORWARD else 'attention'}"
    if match := re.match(r"encoder\.encoder\.layer\.(\d+)\.(\w+)", module):
        return f"text layer {int(match[1]) + 1} {'attention' if match[2] == 'attention' else 'feed-forward'}"
    return next((name for prefix, name in _NAMES.items() if module.startswith(prefix)), "")


def _layer(match: re.Match[str]) -> str:
    if match["middle"]:
        return f"fusion layer {int(match['middle']) + 2}"
    if match["lonely"]:
        return f"fusion layer {int(match['lonely']) + 1}"
    return f"{match[1]} fusion layer"
