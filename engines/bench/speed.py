"""The base-size reference, jetvla's ways beside the course's and the default quantizer's. Weights are random: speed
does not depend on them, fidelity does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from jetvla.engines.bench.loop import SENTENCE
from jetvla.engines.bench.profile import TimeShare, time_share
from jetvla.engines.bench.turns import ACCEPTED, Way, error, measure
from jetvla.engines.bench.ways import compiled_variant, course, default_quantizer, ours, padded_course
from jetvla.engines.observations import random_observations
from jetvla.engines.parity import LanguageCache, StepInputs
from jetvla.engines.runner import GraphRunner
from jetvla.engines.sources import Declared, random_policy
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.policy.model import Variant


@dataclass(frozen=True)
class Row:
    """One way: median milliseconds, how many times faster than the first way, relative error, samples."""

    way: str
    ms: float
    ratio: float
    error: float
    accepted: int
    dropped: int


@dataclass(frozen=True)
class Speed:
    """All ways, and where the compiled variant's time goes.

    Attributes:
        padded: the course's way at the fixed length of an exported graph.
        default: static INT8 with the quantizer's defaults.
    """

    course: Row
    padded: Row
    fp32: Row
    default: Row
    portable: Row
    compiled: Row
    share: TimeShare
    threads: int

    @property
    def rows(self) -> tuple[Row, ...]:
        """The ways, in turn."""
        return self.course, self.padded, self.fp32, self.default, self.portable, self.compiled


def speed(bundle: Bundle, engines: Path, threads: int) -> Speed:
    """Measure all ways in one run.

    Args:
        bundle: of ``jetvla build --random-init base --precision int8 --force``.
        engines: where ``jetvla compile`` keeps what it made of it.
        threads: of every way.
    """
    torch.set_num_threads(threads)
    policy = random_policy("base", Declared())
    compiled = compiled_variant(bundle, engines)
    with TemporaryDirectory() as folder:
        language = GraphRunner(bundle.file(bundle.manifest.graphs["language.fp32"].file))
        text = bundle.manifest.text
        kept = None if text is None or text.embedding is None else np.load(bundle.file(text.embedding), mmap_mode="r")
        feeds = StepInputs(random_observations(policy.settings).calibration, LanguageCache(policy, language, kept))
        variants = [
            ("ONNX Runtime FP32, text kept (ours, portable)", Variant.portable(bundle, "fp32")),
            ("ONNX Runtime static INT8, its quantizer's defaults", default_quantizer(bundle, feeds, Path(folder))),
            ("ours, INT8, portable graph", Variant.portable(bundle, "int8-fp32")),
            (f"ours, compiled for this CPU: {compiled.name}", compiled),
        ]
        del language
        ways = [course(policy, SENTENCE), padded_course(policy, SENTENCE)]
        ways += [ours(bundle, variant, name, threads, SENTENCE) for name, variant in variants]
        plain, padded, fp32, default, portable, best = compared(ways)
        share = time_share(compiled.step.path, next(iter(feeds)), threads)
    return Speed(plain, padded, fp32, default, portable, best, share, threads)


def compared(ways: Sequence[Way], accepted: int = ACCEPTED) -> list[Row]:
    """Time ``ways`` in turns; ratios and errors are against the first."""
    errors, tallies = error(ways), measure(ways, accepted)
    medians = [float(np.median(t.accepted)) if t.accepted else float("nan") for t in tallies]
    return [
        Row(w.name, m * 1e3, medians[0] / m, e, len(t.accepted), t.dropped)
        for w, m, e, t in zip(ways, medians, errors, tallies, strict=True)
    ]
