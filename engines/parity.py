"""Exported graphs against the policy in PyTorch, on the same observations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.observations import Sample, Samples
from jetvla.engines.policy import Policy
from jetvla.engines.runner import GraphRunner
from jetvla.runtime.errors import EngineError
from jetvla.runtime.manifest import ErrorReport

# Largest error of the FP32 graphs, each dimension divided by its scale. Sums in another order cost about 1e-6.
FP32_LIMIT = 1e-4
Array = NDArray[Any]
Actions = NDArray[np.float32]


class LanguageCache:
    """The language graph's outputs, computed once per sentence."""

    def __init__(self, policy: Policy, graph: GraphRunner, embedding: NDArray[np.float32] | None) -> None:
        self._policy, self._graph, self._embedding = policy, graph, embedding
        self._known: dict[str, Mapping[str, Array]] = {}

    def __getitem__(self, instruction: str) -> Mapping[str, Array]:
        if instruction not in self._known:
            ids, mask = (tensor.numpy() for tensor in self._policy.encode([instruction]))
            words = {"input_ids": ids} if self._embedding is None else {"input_embeds": self._embedding[ids]}
            self._known[instruction] = self._graph.run({**words, "attention_mask": mask})
        return self._known[instruction]


class StepInputs:
    """What the step graph is fed for each of ``samples``; as lazy as they are, and as often to be iterated."""

    def __init__(self, samples: Samples, language: LanguageCache | None) -> None:
        self._samples, self._language = samples, language

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        for sample in self._samples:
            yield step_inputs(sample, self._language)


def step_inputs(sample: Sample, language: LanguageCache | None) -> dict[str, Array]:
    """What the step graph is fed for ``sample``; ``language`` is None for a family without."""
    inputs: dict[str, Array] = {f"image_{name}": image[None] for name, image in sample.images.items()}
    if sample.state is not None:
        inputs["state"] = sample.state[None]
    return inputs if language is None else {**inputs, **language[sample.instruction]}


def graph_actions(step: GraphRunner, inputs: Iterable[Mapping[str, Array]]) -> Actions:
    """Actions float32 [N, horizon, D] of a step graph."""
    return np.concatenate([step.run(feed)["actions"] for feed in inputs])


def policy_actions(policy: Policy, samples: Sequence[Sample]) -> Actions:
    """Actions float32 [N, horizon, D] of PyTorch."""
    return np.stack([policy.act(sample.images, sample.state, sample.instruction) for sample in samples])


def compare(actions: Actions, truth: Actions) -> ErrorReport:
    """Per-dimension difference over samples and horizon."""
    error = np.abs(actions.astype(np.float64) - truth)
    return ErrorReport(
        samples=len(actions),
        max=tuple(error.max(axis=(0, 1)).tolist()),
        mean=tuple(error.mean(axis=(0, 1)).tolist()),
    )


def largest(report: ErrorReport, scale: NDArray[np.float64]) -> float:
    """Largest error over dimensions, each divided by its scale."""
    return float((np.array(report.max) / scale).max())


def require_parity(report: ErrorReport, scale: NDArray[np.float64], names: Sequence[str]) -> None:
    """EngineError naming the worst dimension if an FP32 graph is off by more than :data:`FP32_LIMIT`."""
    errors = np.array(report.max) / scale
    worst = int(errors.argmax())
    if not errors[worst] <= FP32_LIMIT:
        raise EngineError(
            f"the exported graphs differ from PyTorch by {errors[worst]:.2e} of the range of {names[worst]!r} "
            f"(limit {FP32_LIMIT:.0e}); nothing was written: this is a fault of the export, please report it"
        )
