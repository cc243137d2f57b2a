"""What jetvla needs to know of a kind of policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from jetvla.engines.families.settings import ActionNormalization, PolicySettings

# What masks add to attention scores: finite, so that it survives FP16; exp(-1e4) is 0 in every float type.
MASKED = -1e4

if TYPE_CHECKING:
    import torch
    from torch import nn

    StateDict = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """What a network is given.

    Attributes:
        images: uint8 [B, H, W, 3] by the policy's camera name, already resized.
        state: float32 [B, S] in physical units; None for a policy without state.
        input_ids, attention_mask: int64 [B, L]; None for a family without language.
    """

    images: Mapping[str, torch.Tensor]
    state: torch.Tensor | None
    input_ids: torch.Tensor | None
    attention_mask: torch.Tensor | None


@dataclass(frozen=True)
class GraphSource:
    """One graph to export: a module, and example inputs by name in the order of its ``forward``.

    Attributes:
        name: ``"language"`` or ``"step"``.
        module: in evaluation mode; returns one tensor or a tuple, in the order of ``outputs``.
        inputs: example tensors, which also fix the shapes.
        outputs: names of what it returns.
    """

    name: str
    module: nn.Module
    inputs: dict[str, torch.Tensor]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class ExportPlan:
    """Everything of a policy that goes into a bundle's graphs.

    Attributes:
        graphs: the graph that runs seldom first.
        embedding: float32 [V, E], the word embedding when it stays out of the language graph.
    """

    graphs: tuple[GraphSource, ...]
    embedding: torch.Tensor | None


class PolicyFamily(Protocol):
    """A kind of policy network. Implementations are stateless."""

    def settings(self, raw: Mapping[str, Any], where: str) -> PolicySettings:
        """Validate the contents of a ``config.yaml``; ConfigError names every mistake."""

    def network(self, settings: PolicySettings, vocabulary: int) -> nn.Module:
        """A network with random weights. ConfigError if it cannot embed ``vocabulary`` ids (0 without language)."""

    def canonical(self, state: StateDict) -> StateDict:
        """A state dict under the names that :meth:`network` uses, without tensors that it never uses."""

    def act(self, network: nn.Module, settings: PolicySettings, batch: Batch) -> torch.Tensor:
        """Normalised actions, float32 [B, horizon, D]."""

    def export_plan(self, network: nn.Module, settings: PolicySettings, actions: ActionNormalization) -> ExportPlan:
        """What to export; images are uint8 inputs, and actions come out in physical units."""

    def block(self, module: str) -> str:
        """What people call the part of the network at a dotted module path, such as ``ViT block 7 MLP``; empty if it
        belongs to none."""
