"""``manifest.json``: everything that the runtime needs to know of a bundle, and every file's digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jetvla.runtime.action_spec import ActionSpec

SCHEMA_VERSION = 1

ResizeMethod = Literal["pillow_bilinear", "pillow_bicubic", "opencv_linear", "opencv_area"]
Fit = Literal["stretch", "pad", "crop"]
Dtype = Literal["uint8", "int64", "float32", "float16", "bool"]
Precision = Literal["fp32", "fp16", "int8-fp32", "int8-fp16"]
Execution = Literal["latest", "temporal_ensemble", "blend"]


class _Record(BaseModel):
    # The error of a graph that overflowed is no number of JSON's own; Python reads and writes it as NaN or Infinity.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class ResizeSpec(_Record):
    """How a camera image becomes the policy's input; it must be the one of training.

    ``stretch`` ignores the aspect ratio, ``pad`` adds black bars, ``crop`` cuts the centre.
    """

    method: ResizeMethod
    fit: Fit


class CameraSpec(_Record):
    """One camera that the policy was trained with; ``height`` and ``width`` are the policy's input."""

    name: str = Field(min_length=1)
    height: int = Field(gt=0, le=4096)
    width: int = Field(gt=0, le=4096)


class TensorSpec(_Record):
    """Data type and static shape of one graph input or output."""

    dtype: Dtype
    shape: tuple[int, ...]


class GraphSpec(_Record):
    """One ONNX file of the bundle, with its interface."""

    file: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


class TextSpec(_Record):
    """Tokenization: ids are padded or cut to ``max_tokens``.

    ``embedding`` names the memory-mapped word-embedding file (float32 [V, E]) when it is kept out
    of the language graph, whose first input is then ``input_embeds`` and not ``input_ids``.
    """

    tokenizer: str = "tokenizer.json"
    max_tokens: int = Field(gt=0, le=4096)
    pad_id: int = Field(ge=0)
    embedding: str | None = None


class GoldenSpec(_Record):
    """Golden samples, and by precision the largest allowed |action - checkpoint's action|, each dimension divided
    by its ``scale``; ``moving`` are the dimensions that vary in the recordings."""

    file: str = "golden.npz"
    count: int = Field(gt=0)
    scale: tuple[float, ...]
    moving: tuple[bool, ...]
    tolerance: dict[Precision, float]


class Normalization(_Record):
    """Action statistics that are already inside the step graph: ``action = output * std + mean``."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class ErrorReport(_Record):
    """|difference of actions| over ``samples`` real observations, per dimension, in action units."""

    samples: int = Field(gt=0)
    max: tuple[float, ...]
    mean: tuple[float, ...]


class BlockReport(_Record):
    """One block of the policy in an INT8 graph.

    Errors are tolerance-relative: 1 is exactly at the tolerance of the worst action dimension.

    Attributes:
        alone: error when nothing but this block computes in INT8; None if it was not measured.
        together: error of this block and all that were chosen before it; None if it was not measured.
        share: its part of the step's multiplications, 0 to 1.
    """

    name: str
    precision: Literal["int8", "float"]
    alone: float | None
    together: float | None
    share: float


class PrecisionReport(_Record):
    """What became of one requested precision of the step graph.

    Attributes:
        error: against FP32 on held-out episodes.
        relative_error: largest, over the dimensions that vary in the recordings, of the mean error divided by the
            dimension's scale (:attr:`GoldenSpec.scale`).
        tolerance: largest mean error that ships, per dimension, in its unit.
        tolerance_share: largest, over the same dimensions, of the mean error divided by the tolerance; above 1 the
            graph is not written.
        smooth_alpha: strength of SmoothQuant; None without it.
        blocks: every block of an INT8 graph, in the order of the graph.
    """

    precision: Precision
    written: bool
    reason: str
    held_out: Literal["held-out episodes", "random observations"]
    error: ErrorReport
    relative_error: float
    tolerance: tuple[float, ...]
    tolerance_share: float
    quantized_nodes: int = 0
    float_nodes: int = 0
    smooth_alpha: float | None = None
    blocks: tuple[BlockReport, ...] = ()


def is_fp32_on_jetson(reports: Sequence[PrecisionReport]) -> bool:
    """Whether graphs in FP16 were asked for and none was written: a Jetson gets FP32 only."""
    halves = [report for report in reports if report.precision.endswith("fp16")]
    return bool(halves) and not any(report.written for report in halves)


class CalibrationSpec(_Record):
    """Where the activation ranges came from.

    Attributes:
        method: how a histogram became a range.
        selection: how ``samples`` were chosen among the recorded steps of ``episodes``, with ``seed``.
        held_out: the episodes that judged; none of them is in ``episodes``.
        data_sha256: digest of the calibration images, states and sentences.
        coverage: largest distance of a recorded step to the nearest sample, where 1 is the standard deviation of
            images and of states (:mod:`jetvla.calibration.features`); None where there was nothing to choose from.
    """

    method: Literal["mse", "max", "percentile", "entropy"]
    samples: int = Field(ge=0)
    selection: Literal["covering", "uniform"]
    seed: int
    episodes: tuple[str, ...]
    held_out: tuple[str, ...]
    data_sha256: str
    coverage: float | None = None


class FileSpec(_Record):
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Manifest(_Record):
    """The contents of ``manifest.json``.

    Attributes:
        schema_version: version of this layout.
        version: the bundle's own version; only ever rises for one policy.
        name: for people.
        family: policy family that exported it.
        horizon: H, actions per chunk.
        dt_s: time between the actions of a chunk, seconds.
        replan_s: intended time between chunks, seconds.
        execution: how overlapping chunks are merged: the ``latest`` alone, a ``temporal_ensemble`` (weighted mean) of
            all, or a ``blend``, which fades from the one in use to the new one.
        ensemble_coefficient: m of the ensemble's weights exp(-m i), where i = 0 is the oldest chunk (Zhao et al. 2023,
            ACT); above 0 the older weigh more, below 0 the newer.
        graphs: by name: ``language.fp32``, ``step.fp32``, ``step.int8-fp32``, ...
        parity: FP32 graphs against the checkpoint in PyTorch.
        precision: what became of each other precision.
        files: digest of every file of the bundle but ``manifest.json`` and ``manifest.sig``.
    """

    schema_version: Literal[1] = 1
    version: int = Field(ge=1)
    name: str
    family: str
    action: ActionSpec
    cameras: tuple[CameraSpec, ...] = Field(min_length=1)
    state: tuple[str, ...] = ()
    horizon: int = Field(ge=1, le=1000)
    dt_s: float = Field(gt=0, le=10)
    replan_s: float = Field(gt=0, le=10)
    execution: Execution = "latest"
    ensemble_coefficient: float = Field(default=0.01, ge=-10, le=10)
    resize: ResizeSpec
    text: TextSpec | None = None
    graphs: dict[str, GraphSpec]
    normalization: Normalization
    golden: GoldenSpec
    parity: ErrorReport
    precision: tuple[PrecisionReport, ...] = ()
    calibration: CalibrationSpec | None = None
    builder: dict[str, str]
    files: dict[str, FileSpec]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if "step.fp32" not in self.graphs:
            raise ValueError("graphs: step.fp32 is missing")
        if self.text is not None and "language.fp32" not in self.graphs:
            raise ValueError("graphs: language.fp32 is missing, though 'text' is there")
        named = {g.file for g in self.graphs.values()} | {self.golden.file}
        if self.text is not None:
            named |= {f for f in (self.text.tokenizer, self.text.embedding) if f is not None}
        missing = sorted(n for n in named if n not in self.files)
        if missing:
            raise ValueError(f"files: no digest of {', '.join(missing)}")
        self._check_lengths()
        return self

    def _check_lengths(self) -> None:
        per_dimension = {
            "normalization.mean": self.normalization.mean,
            "normalization.std": self.normalization.std,
            "golden.scale": self.golden.scale,
            "golden.moving": self.golden.moving,
            "parity.max": self.parity.max,
            "parity.mean": self.parity.mean,
        }
        for report in self.precision:
            name = f"precision.{report.precision}"
            per_dimension |= {f"{name}.tolerance": report.tolerance, f"{name}.error.max": report.error.max}
            per_dimension[f"{name}.error.mean"] = report.error.mean
        wrong = [name for name, numbers in per_dimension.items() if len(numbers) != len(self.action)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} must have {len(self.action)} numbers, one a dimension")

    @property
    def step_precisions(self) -> tuple[Precision, ...]:
        """Precisions in which a step graph is present, fp32 first."""
        order: tuple[Precision, ...] = ("fp32", "fp16", "int8-fp32", "int8-fp16")
        return tuple(p for p in order if f"step.{p}" in self.graphs)
