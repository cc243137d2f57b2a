"""Profiles to judge, compare and draw: whole ones of chosen numbers, without any daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jetvla.runtime.engine_key import Machine
from jetvla.runtime.telemetry.environment import Clocks, Environment
from jetvla.runtime.telemetry.span_reader import Span
from jetvla.services.profiling.collector import Collector
from jetvla.services.profiling.record import (
    SCHEMA,
    EngineFacts,
    Moment,
    PowerFigures,
    ProcessMemory,
    Profile,
)

MS = 1_000_000
USUAL_MS = {"capture": 3.0, "preprocess": 0.3, "step": 1.5, "link": 5.0, "wake": 0.05, "guard": 0.4, "publish": 0.1}

ENVIRONMENT = Environment(
    machine=Machine(cpu="asimd"),
    cpu_model="Arm Cortex-A78AE",
    cores=6,
    jetson="a board",
    jetpack=None,
    power_mode="15W",
    cpu=Clocks(),
    gpu=Clocks(),
    temperatures=(),
    throttling=None,
    kernel="5.15",
    python="3.10.12",
    versions=(("numpy", "1.26.4"),),
    load=0.5,
    hypervisor=None,
    missing=(),
)


def spans_of(count: int, times_ms: Mapping[str, float], seed: int = 0) -> list[Span]:
    """Of ``count`` frames, 33 ms apart, whose stages take ``times_ms`` and up to a tenth more."""
    rng = np.random.default_rng(seed)
    spans = []
    for index in range(count):
        frame_ns = (index + 1) * 33 * MS
        at = frame_ns
        for name, ms in times_ms.items():
            took = round(ms * MS * (1 + 0.1 * rng.random()))
            frame = 0 if name in ("wake", "guard") else frame_ns
            if name == "publish":
                spans.append(Span("age", frame_ns, at + took - frame_ns, frame_ns))
            spans.append(Span(name, at, took, frame))
            at += took
    return spans


def profile_of(times_ms: Mapping[str, float] | None = None, count: int = 300, seed: int = 0, **fields: Any) -> Profile:
    collector = Collector(0, {})
    collector.add(spans_of(count, {**USUAL_MS, **(times_ms or {})}, seed))
    made = Profile(
        schema=SCHEMA,
        mode="paced",
        measured_at="2026-01-02T03:04:05+00:00",
        bundle="ab" * 32,
        policy="table-robot",
        setting={"camera": "generated pictures", "instruction": "go"},
        engine_key="cd" * 32,
        engine=EngineFacts("onnxruntime", "int8-fp32", "the bundle's graph", 24.5),
        scheduling="SCHED_FIFO priority 50",
        guard_hz=100.0,
        seconds=count * 0.033,
        rate_hz=30.0,
        stages=collector.figures(),
        frames=collector.frames(),
        lost=0,
        stops={},
        cold_start=(Moment("first HELLO", 1500.0), Moment("first chunk", 1700.5)),
        memory=(ProcessMemory("policy", 130.0), ProcessMemory("guard", None)),
        power=PowerFigures("VDD_IN", 5.2, 173.0, 300, 0, (), ""),
        environment=ENVIRONMENT,
        after=ENVIRONMENT,
    )
    return replace(made, **fields)


@pytest.fixture
def make_profile() -> Callable[..., Profile]:
    """Makes a profile whose stages take the given milliseconds."""
    return profile_of
