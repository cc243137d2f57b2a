"""A profile as it is stored: everything that was measured, and where."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from jetvla.runtime.errors import TelemetryError
from jetvla.runtime.telemetry.environment import Environment
from jetvla.runtime.telemetry.histogram import RESOLUTION
from jetvla.services.profiling.series import Series

SCHEMA: Literal[4] = 4
# Kept of each stage, the newest: two minutes at 30 frames a second, 40 s of a guard at 100 Hz.
MAX_SAMPLES = 4096
MAX_FRAMES = 2048

Mode = Literal["paced", "saturated", "attached", "engine"]
# In the name of a stage of the engine alone.
BACK_TO_BACK = "back to back"
# A limit that is no time and no ratio.
STOPS = "stops"
# Among the stops, where no fault says why.
NOT_ARMED = "not armed"
_Environment = Annotated[
    Environment, PlainValidator(Environment.from_dict), PlainSerializer(lambda e: e.as_dict(), return_type=dict)
]


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds of one stage; percentiles at most 1/128 above the exact value, ``max`` exact.

    Attributes:
        count: samples that the percentiles are of.
        samples_us: the newest :data:`MAX_SAMPLES` of them in their order, microseconds.
    """

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    samples_us: Series


@dataclass(frozen=True, slots=True)
class FrameStage:
    """When one stage ran for each frame, microseconds after the frame's capture; NaN where it did not."""

    begin_us: Series
    duration_us: Series


@dataclass(frozen=True, slots=True)
class Frames:
    """The newest :data:`MAX_FRAMES` frames that a command obeyed.

    Attributes:
        captured_ms: when, after the start of the measurement.
        stages: what ran for them, by name; ``age`` is the whole way.
    """

    captured_ms: Series
    stages: dict[str, FrameStage]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that a cold start reached, milliseconds after its first process was started."""

    name: str
    ms: float


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """The largest resident memory that a process ever had, MB of 10⁶ bytes; None if the kernel did not tell."""

    process: str
    peak_mb: float | None


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """The engine, as opened once more in a process of its own after the measurement.

    Attributes:
        resident_mb: what opening it and one step added to the process's resident memory; on a Jetson the GPU's
            memory is the same, elsewhere it is not in here.
    """

    backend: str
    precision: str
    variant: str
    resident_mb: float


@dataclass(frozen=True, slots=True)
class PowerFigures:
    """Energy of the measurement; None is what the machine does not measure, and ``note`` says why.

    Attributes:
        rail: the total that was measured.
        actions: chunks that a command obeyed, or steps where only the engine ran.
        gaps: times without a reading; with any, the energy is an estimate.
        held_back: what throttled meanwhile; None if nobody knows.
    """

    rail: str
    watts: float | None
    millijoules_per_action: float | None
    actions: int
    gaps: int
    held_back: tuple[str, ...] | None
    note: str


@dataclass(frozen=True, slots=True)
class BackToBack:
    """The half of a measurement of the engine alone in which it did not pause.

    Attributes:
        seconds: that it took.
        rate_hz: steps a second.
    """

    seconds: float
    rate_hz: float
    power: PowerFigures


@dataclass(frozen=True, slots=True)
class Verdict:
    """One limit of the budget. ``measured`` and ``limit`` are milliseconds, a ratio for ``miss_ratio``, or a number of
    :data:`STOPS`; ``measured`` is None where the stage never ran, which holds no limit."""

    stage: str
    what: str
    limit: float
    measured: float | None

    @property
    def held(self) -> bool:
        return self.measured is not None and self.measured <= self.limit

    @property
    def times(self) -> float:
        """How many times the limit was measured; infinite if nothing was, or nothing is allowed."""
        if self.measured is None:
            return float("inf")
        return self.measured / self.limit if self.limit else (float("inf") if self.measured else 0.0)


@dataclass(frozen=True, slots=True)
class Profile:
    """One measurement.

    Attributes:
        mode: ``paced``: daemons of its own at the camera's rate; ``saturated``: as fast as the policy can;
            ``attached``: daemons that ran anyway; ``engine``: the step engine alone.
        measured_at: UTC, ISO 8601.
        bundle: digest.
        setting: what else decides the figures (camera, instruction, rates), for people.
        engine_key: digest of what the engine is valid for (graph, backend, machine, options), as the policy's HELLO
            tells it; None where a guard does not tell it.
        engine: None where daemons ran anyway.
        seconds: that were measured; of the engine alone, as with ``rate_hz`` and ``power``, those at the control rate.
        rate_hz: chunks a second.
        stages: by name, in the order of the table of stages.
        lost: spans that were overwritten before they could be read.
        stops: faults of the guard during the measurement, and how often; :data:`NOT_ARMED` once if it was seen
            unarmed without any.
        environment: at the start.
        after: at the end, for temperatures and throttling.
        back_to_back: the other half of the engine alone; None where daemons ran.
    """

    schema: Literal[4]
    mode: Mode
    measured_at: str
    bundle: str
    policy: str
    setting: dict[str, str]
    engine_key: str | None
    engine: EngineFacts | None
    scheduling: str
    guard_hz: float
    seconds: float
    rate_hz: float
    stages: dict[str, Figures]
    frames: Frames
    lost: int
    stops: dict[str, int]
    cold_start: tuple[Moment, ...]
    memory: tuple[ProcessMemory, ...]
    power: PowerFigures
    environment: _Environment
    after: _Environment
    budget: tuple[Verdict, ...] = ()
    back_to_back: BackToBack | None = None
    resolution: float = RESOLUTION

    @property
    def exceeded(self) -> tuple[Verdict, ...]:
        """Limits that were not held, the farthest first."""
        return tuple(sorted((v for v in self.budget if not v.held), key=lambda v: -v.times))

    def seconds_of(self, stage: str) -> float:
        """How long ``stage`` was measured."""
        other = self.back_to_back
        return self.seconds if other is None or not stage.endswith(BACK_TO_BACK) else other.seconds

    def as_json(self) -> str:
        """Text of the file."""
        return json.dumps(_ADAPTER.dump_python(self, mode="json"), indent=1, ensure_ascii=False) + "\n"


_ADAPTER = TypeAdapter(Profile)


def read_profile(path: Path) -> Profile:
    """The profile that ``jetvla profile --json`` wrote to ``path``.

    Raises:
        TelemetryError: if it cannot be read, or is none of this version.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        return _ADAPTER.validate_python(values)
    except OSError as error:
        raise TelemetryError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise TelemetryError(
            f"{path} is no profile of this version ({where}: {first['msg']}); make one with 'jetvla profile --json'"
        ) from error
    except ValueError as error:
        raise TelemetryError(f"{path} is no JSON file: {error}") from error
