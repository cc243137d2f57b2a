"""A calibration as a file: the ranges of every activation, and whatever they came from.

The file is JSON. It belongs to one FP32 step graph, says which steps of which recordings were used, and can be used
again for as long as the graph stays the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from jetvla.calibration.limits import Method
from jetvla.calibration.select import Selection
from jetvla.runtime.errors import ConfigError

SCHEMA_VERSION = 1
# Mistakes that one message names.
_SHOWN = 5
_AGAIN = "make the calibration again from the recordings"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ActivationRange(_Record):
    """Range of one activation: ``limit`` is what INT8's 127 stands for, ``largest`` the largest |x| seen in
    ``count`` numbers."""

    limit: float = Field(ge=0, allow_inf_nan=False)
    largest: float = Field(ge=0, allow_inf_nan=False)
    count: int = Field(gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> ActivationRange:
        if self.limit > self.largest:
            raise ValueError(f"limit {self.limit:g} is above the largest value, {self.largest:g}")
        return self


class SampleId(_Record):
    """One recorded step."""

    episode: str
    step: int = Field(ge=0)


class DataSource(_Record):
    """Recordings: last component of their path, digest of the samples taken, and the episodes that were open to
    choice."""

    name: str = Field(min_length=1)
    sha256: Sha256
    episodes: tuple[str, ...] = Field(min_length=1)


class Row(NamedTuple):
    """One activation, for people; ``kept`` is the part of the largest magnitude that is not clipped, 0 to 1, and
    ``numbers`` how many were seen."""

    activation: str
    limit: float
    largest: float
    kept: float
    numbers: int


class CalibrationFile(_Record):
    """The contents of a calibration file.

    Attributes:
        schema_version: version of this layout.
        policy: name, for people.
        graph_sha256: of the FP32 step graph that the activations are of.
        data: where the samples are from.
        selection: how they were chosen.
        seed: of that choice, and of the choice of held-out episodes.
        samples: the chosen steps.
        method: how the limits were found.
        bins: resolution of the histograms.
        activations: ranges by the tensor's name in the graph.
        smooth_alpha: SmoothQuant's alpha; None if nothing was smoothed.
        smoothing: what each channel of an activation was divided by, by the tensor's name.
    """

    schema_version: Literal[1] = 1
    policy: str = Field(min_length=1)
    graph_sha256: Sha256
    data: DataSource
    selection: Selection
    seed: int = Field(ge=0)
    samples: tuple[SampleId, ...] = Field(min_length=1)
    method: Method
    bins: int = Field(gt=0)
    activations: dict[str, ActivationRange] = Field(min_length=1)
    smooth_alpha: float | None = Field(default=None, ge=0, le=1)
    smoothing: dict[str, tuple[Factor, ...]] = {}

    @model_validator(mode="after")
    def _consistent(self) -> CalibrationFile:
        strangers = sorted({s.episode for s in self.samples} - set(self.data.episodes))
        if strangers:
            raise ValueError(f"samples are of episodes that data.episodes does not list: {', '.join(strangers)}")
        if len(set(self.samples)) < len(self.samples):
            raise ValueError("a sample is listed twice")
        if self.smoothing and self.smooth_alpha is None:
            raise ValueError("smoothing needs smooth_alpha")
        return self

    @classmethod
    def read(cls, path: Path) -> CalibrationFile:
        """The calibration at ``path``; ConfigError if there is none, or says what is wrong with it."""
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path} cannot be read ({error.strerror}); give a calibration file") from None
        try:
            version = _Version.model_validate_json(raw).schema_version
            if version != SCHEMA_VERSION:
                raise ConfigError(
                    f"{path}: schema_version is {version!r}, and this jetvla reads {SCHEMA_VERSION}; {_AGAIN}"
                )
            return cls.model_validate_json(raw)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, e['loc'])) or 'calibration'}: {e['msg']}" for e in error.errors()]
            more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            raise ConfigError(f"{path}: {'; '.join(problems[:_SHOWN])}{more}; {_AGAIN}") from None

    def write(self, path: Path) -> None:
        """Write to ``path``, replacing what is there, whole or not at all; ConfigError if that is impossible."""
        if not path.parent.is_dir():
            raise ConfigError(f"{path.parent} is not a folder; make it first")
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                file.write(self._json().encode())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error.strerror}); choose another place") from None
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def check_belongs(self, graph_sha256: str) -> None:
        """ConfigError unless the ranges are of the step graph with this digest."""
        if self.graph_sha256 != graph_sha256:
            raise ConfigError(
                f"this calibration is of step graph {self.graph_sha256[:12]} (policy {self.policy}), but the one being "
                f"built is {graph_sha256[:12]}: another checkpoint, or another version of the exporter. Its ranges "
                f"would be wrong: {_AGAIN}"
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the contents, in hexadecimal; the same however the file was formatted."""
        return hashlib.sha256(self._json().encode()).hexdigest()

    def rows(self) -> list[Row]:
        """Every activation, the most clipped one first."""
        rows = [
            Row(name, r.limit, r.largest, r.limit / r.largest if r.largest else 1.0, r.count)
            for name, r in self.activations.items()
        ]
        return sorted(rows, key=lambda row: row.kept)

    def summary(self) -> list[tuple[str, str]]:
        """Where the ranges came from, as pairs of a heading and its text."""
        episodes = len({s.episode for s in self.samples})
        smoothed = (
            "no" if self.smooth_alpha is None else f"alpha {self.smooth_alpha:g}, activations: {len(self.smoothing)}"
        )
        return [
            ("policy", self.policy),
            ("step graph", self.graph_sha256),
            ("data", f"{self.data.name}, sha256 {self.data.sha256}"),
            ("samples", f"{len(self.samples)} of {episodes} episodes, {self.selection}, seed {self.seed}"),
            ("limits", f"{self.method}, histograms of {self.bins} bins"),
            ("smoothing", smoothed),
            ("digest", self.digest),
        ]

    def _json(self) -> str:
        return self.model_dump_json(indent=1) + "\n"


class _Version(BaseModel):
    schema_version: object = None
