"""``jetvla.yaml``: one model, checked once, with every mistake named by its line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.limits import Limits, RateLimit
from jetvla.runtime.yaml_source import YamlSource

_FOREVER_S = 1e9


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _resolve(cls, value: Any, info: ValidationInfo) -> Any:
        """Paths are relative to the configuration file, not to the process's folder."""
        base = (info.context or {}).get("folder")
        return base / value if isinstance(value, Path) and base is not None else value


class VideoCamera(_Section):
    """A video file, played at its own speed."""

    kind: Literal["video"]
    path: Path
    loop: bool = False


class FramesCamera(_Section):
    """A folder of images, in the order of their names."""

    kind: Literal["frames"]
    path: Path
    fps: float = Field(default=30.0, gt=0, le=1000)
    loop: bool = False


class V4l2Camera(_Section):
    """A V4L2 device through OpenCV. ``stamp: driver`` takes the kernel's capture time."""

    kind: Literal["v4l2"]
    device: str = "/dev/video0"
    size: tuple[int, int] = (640, 480)
    fps: float = Field(default=30.0, gt=0, le=1000)
    stamp: Literal["driver", "arrival"] = "driver"


class RosCamera(_Section):
    """A ROS 2 topic of sensor_msgs/Image, or of CompressedImage when ``compressed``.

    ``stamp: arrival`` is for publishers whose header stamps are zero or of simulated time.
    """

    kind: Literal["ros"]
    topic: str = "/camera/image_raw"
    compressed: bool = False
    stamp: Literal["header", "arrival"] = "header"


CameraConfig = Annotated[VideoCamera | FramesCamera | V4l2Camera | RosCamera, Field(discriminator="kind")]


class InstructionConfig(_Section):
    """Where instructions come from. ``text`` is one that is there from the start; ``ttl_s`` null never expires."""

    topic: str = "/voice_command"
    text: str | None = None
    ttl_s: float | None = Field(default=60.0, gt=0, le=86400)
    max_chars: int = Field(default=200, ge=1, le=10000)
    stop_words: tuple[str, ...] = ("stop", "halt")


class PolicyConfig(_Section):
    """The policy process. Precision ``auto`` takes what ``jetvla compile`` chose, else INT8 where there is one; threads
    ``auto`` leaves a core free. ``engines`` is the folder of what was compiled."""

    backend: Literal["auto", "onnxruntime", "tensorrt", "null"] = "auto"
    precision: Literal["auto", "fp32", "fp16", "int8-fp32", "int8-fp16"] = "auto"
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    rate_hz: Literal["auto"] | Annotated[float, Field(gt=0, le=1000)] = "auto"
    engines: Path = Path("/var/cache/jetvla/engines")


class TwistOutput(_Section):
    """geometry_msgs/Twist. ``linear`` and ``angular`` name the action dimensions of x, y, z; null sends 0."""

    kind: Literal["twist"]
    topic: str = "/cmd_vel"
    frame: str = "base_link"
    linear: tuple[str | None, str | None, str | None] = ("x", "y", "z")
    angular: tuple[str | None, str | None, str | None] = ("roll", "pitch", "yaw")


class GripperOutput(_Section):
    """std_msgs/Float64 from one absolute gripper dimension."""

    kind: Literal["gripper"]
    topic: str = "/gripper_command"
    dimension: str = "gripper"


class LogOutput(_Section):
    """JSON lines, one a command: for trials without a robot."""

    kind: Literal["log"]
    path: Path


OutputConfig = Annotated[TwistOutput | GripperOutput | LogOutput, Field(discriminator="kind")]


def _override_fields(limits: Limits | RateLimit) -> dict[str, Any]:
    """An optional positive number, or section of such, for every field of ``limits``."""
    models: dict[str, Any] = {}
    for field in fields(limits):
        value = getattr(limits, field.name)
        if isinstance(value, RateLimit):
            models[field.name] = (_RateOverrides | None, None)
        else:
            kind = int if isinstance(value, int) else float
            models[field.name] = (Annotated[kind, Field(gt=0)] | None, None)
    return models


_DEFAULTS = Limits()
# The time to live of an instruction has its own key, instruction.ttl_s.
_LIMIT_FIELDS_ELSEWHERE = ("instruction_ttl_s",)
_RateOverrides = create_model("RateOverrides", __base__=_Section, **_override_fields(_DEFAULTS.linear))
_LimitFields = create_model(
    "LimitFields",
    __base__=_Section,
    **{n: f for n, f in _override_fields(_DEFAULTS).items() if n not in _LIMIT_FIELDS_ELSEWHERE},
)


class LimitOverrides(_LimitFields):
    """Any of the guard's limits; what is left out keeps its default."""

    @model_validator(mode="after")
    def _consistent(self) -> LimitOverrides:
        try:
            Limits.from_overrides(self.as_mapping())
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    def as_mapping(self) -> dict[str, Any]:
        """What :meth:`Limits.from_overrides` takes."""
        return self.model_dump(exclude_none=True)


class GuardConfig(_Section):
    """The guard process."""

    rate_hz: float = Field(default=100.0, ge=10, le=1000)
    limits: LimitOverrides = LimitOverrides()
    estop: str = "~/estop"
    outputs: tuple[OutputConfig, ...] = (TwistOutput(kind="twist"),)


class RosConfig(_Section):
    """``domain_id`` None leaves it to the environment."""

    domain_id: int | None = Field(default=None, ge=0, le=232)
    namespace: str = Field(default="", pattern=r"^(/?[A-Za-z_][A-Za-z0-9_]*)*$")


class Config(_Section):
    """The whole file.

    Attributes:
        bundle: folder of the bundle to run.
        trusted: folder of the public keys whose bundles may run.
        run_dir: folder of the policy-guard socket and of ``status.json``.
        cameras: by the names that the bundle gives its cameras.
    """

    bundle: Path
    trusted: Path = Path("/etc/jetvla/trusted.d")
    run_dir: Path = Path("/run/jetvla")
    cameras: dict[str, CameraConfig] = Field(min_length=1)
    instruction: InstructionConfig = InstructionConfig()
    policy: PolicyConfig = PolicyConfig()
    guard: GuardConfig = GuardConfig()
    ros: RosConfig = RosConfig()

    @property
    def socket(self) -> Path:
        return self.run_dir / "policy.sock"

    @property
    def status(self) -> Path:
        return self.run_dir / "status.json"

    @property
    def limits(self) -> Limits:
        """The guard's limits: defaults, changed by this file."""
        overrides = self.guard.limits.as_mapping()
        return Limits.from_overrides(overrides | {"instruction_ttl_s": self.instruction.ttl_s or _FOREVER_S})

    @property
    def uses_ros(self) -> bool:
        """Whether any camera or output is on ROS 2."""
        return any(c.kind == "ros" for c in self.cameras.values()) or any(o.kind != "log" for o in self.guard.outputs)


def load_config(path: Path) -> Config:
    """Read and check ``path``.

    Raises:
        ConfigError: one line for every mistake, as ``file:line: key: what is wrong``.
    """
    source = YamlSource.read(path)
    data = {} if source.data is None else source.data
    try:
        return Config.model_validate(data, context={"folder": path.resolve().parent})
    except ValidationError as error:
        problems = [
            f"{path}:{source.line(problem['loc'])}: {_describe(problem['loc'], source)}: {_message(problem)}"
            for problem in error.errors()
        ]
        raise ConfigError("\n".join(["the configuration is wrong:", *problems])) from error


def _describe(location: tuple[str | int, ...], source: YamlSource) -> str:
    """Dotted key, without the union tags that pydantic adds."""
    parts: tuple[str | int, ...] = ()
    for index, part in enumerate(location):
        if (*parts, part) in source.lines or index == len(location) - 1:
            parts = (*parts, part)
    return ".".join(map(str, parts)) or "(root)"


def _message(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return "unknown key; remove it or correct its spelling"
    if problem["type"] == "missing":
        return "is required; add it"
    shown = problem.get("input")
    value = f" (it is {shown!r})" if isinstance(shown, (str, int, float, bool)) else ""
    return f"{problem['msg']}{value}"
