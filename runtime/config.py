"""``jetvla.yaml``: one model, checked once, with every mistake named by its line."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, StringConstraints, ValidationError, model_validator

from jetvla.runtime.config_errors import problems
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.limits_config import LimitOverrides
from jetvla.runtime.robot_config import FeedbackConfig, NoFeedback, OutputConfig, Section, StateConfig, TwistOutput
from jetvla.runtime.ros_names import GUARD_NODE, OFF, DeadmanTopic, EstopTopic, Topic, resolved
from jetvla.runtime.telemetry.config import TelemetryConfig
from jetvla.runtime.yaml_source import YamlSource

DEFAULT_CONFIG = Path("/etc/jetvla/jetvla.yaml")

_FOREVER_S = 1e9
_Section = TypeVar("_Section", bound=Section)


class VideoCamera(Section):
    """A video file, played at its own speed."""

    kind: Literal["video"]
    path: Path
    loop: bool = False


class FramesCamera(Section):
    """A folder of images, in the order of their names."""

    kind: Literal["frames"]
    path: Path
    fps: float = Field(default=30.0, gt=0, le=1000)
    loop: bool = False


class V4l2Camera(Section):
    """A V4L2 device through OpenCV. ``stamp: driver`` takes the kernel's capture time.

    ``format`` is V4L2's name of a pixel format, such as MJPG: USB has no room for large pictures that are not
    compressed. Without it OpenCV chooses.
    """

    kind: Literal["v4l2"]
    device: str = "/dev/video0"
    size: tuple[int, int] = (640, 480)
    fps: float = Field(default=30.0, gt=0, le=1000)
    format: str | None = Field(default=None, min_length=4, max_length=4)
    stamp: Literal["driver", "arrival"] = "driver"


class RosCamera(Section):
    """A ROS 2 topic of sensor_msgs/Image, or of CompressedImage when ``compressed``.

    ``stamp: arrival`` is for publishers whose header stamps are zero or of simulated time.
    """

    kind: Literal["ros"]
    topic: Topic = "/camera/image_raw"
    compressed: bool = False
    stamp: Literal["header", "arrival"] = "header"


CameraConfig = Annotated[VideoCamera | FramesCamera | V4l2Camera | RosCamera, Field(discriminator="kind")]


class InstructionConfig(Section):
    """Where instructions come from. ``text`` is one that is there from the start; ``ttl_s`` null never expires."""

    topic: Topic = "/voice_command"
    text: str | None = None
    ttl_s: float | None = Field(default=60.0, gt=0, le=86400)
    max_chars: int = Field(default=200, ge=1, le=10000)
    stop_words: tuple[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)], ...] = ("stop", "halt")


class PolicyConfig(Section):
    """The policy process. Precision ``auto`` takes what ``jetvla compile`` chose, else INT8 where there is one; threads
    ``auto`` leaves a core free. ``engines`` is the folder of what was compiled."""

    backend: Literal["auto", "onnxruntime", "tensorrt", "null"] = "auto"
    precision: Literal["auto", "fp32", "fp16", "int8-fp32", "int8-fp16"] = "auto"
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    rate_hz: Literal["auto"] | Annotated[float, Field(gt=0, le=1000)] = "auto"
    engines: Path = Path("/var/cache/jetvla/engines")


class GuardConfig(Section):
    """The guard process.

    ``estop`` and ``deadman`` are topics of std_msgs/Bool. The e-stop cannot be switched off; a deadman that is not
    ``none`` must be held to arm, and repeated at 10 Hz or more; ``~/deadman`` is one of the guard's own names.
    """

    rate_hz: float = Field(default=100.0, ge=10, le=1000)
    limits: LimitOverrides = LimitOverrides()
    estop: EstopTopic = "~/estop"
    deadman: DeadmanTopic = OFF
    feedback: FeedbackConfig = NoFeedback()
    outputs: tuple[OutputConfig, ...] = (TwistOutput(kind="twist"),)

    @model_validator(mode="after")
    def _one_output_a_topic(self) -> GuardConfig:
        topics = [resolved(output.topic, GUARD_NODE) for output in self.outputs if output.kind != "log"]
        if twice := sorted({t for t in topics if topics.count(t) > 1}):
            raise ValueError(f"two outputs publish {', '.join(twice)}; give each its own topic")
        return self

    @model_validator(mode="after")
    def _two_switches(self) -> GuardConfig:
        self.check_switches("")
        return self

    def check_switches(self, namespace: str) -> None:
        """ValueError if one message would hold the deadman and press the e-stop."""
        estop, deadman = (resolved(topic, GUARD_NODE, namespace) for topic in (self.estop, self.deadman))
        if self.deadman != OFF and estop == deadman:
            raise ValueError(f"guard.estop and guard.deadman are both {estop}; give each its own topic")


class RosConfig(Section):
    """``domain_id`` None leaves it to the environment. Without ``autostart`` the guard's node waits, unconfigured, for
    a lifecycle manager."""

    domain_id: int | None = Field(default=None, ge=0, le=232)
    namespace: str = Field(default="", pattern=r"^(/?[A-Za-z_][A-Za-z0-9_]*)*$")
    autostart: bool = True


class TrialConfig(Section):
    """When a new bundle is kept. ``seconds`` of ticks that followed a chunk in time, armed or in shadow, commit it.

    It is rolled back after more than ``missed`` deadlines, more than ``restarts`` of policy or guard, or more clipped
    ticks than the share ``clipped`` of those seconds. Clipped are requests beyond velocity, range or box.
    """

    seconds: float = Field(default=60.0, gt=0, le=86400)
    missed: int = Field(default=5, ge=0)
    clipped: float = Field(default=0.05, ge=0, le=1)
    restarts: int = Field(default=3, ge=0)


# What a store calls its bundles, beside their digests.
CURRENT, PREVIOUS = "current", "previous"
_STORED = re.compile(rf"{CURRENT}|{PREVIOUS}|[0-9a-f]{{64}}")


class Config(Section):
    """The whole file.

    Attributes:
        store: folder of the installed bundles.
        bundle: folder of the bundle to run; ``current``, ``previous`` and a digest are names in the store.
        trusted: folder of the public keys whose bundles may run.
        run_dir: folder of the policy-guard socket, of the recorder's socket and of ``status.json``.
        cameras: by the names that the bundle gives its cameras.
        state: joint states, for a policy that takes them.
        trial: of a bundle that was just installed.
    """

    store: Path = Path("/var/lib/jetvla/bundles")
    bundle: Path
    trial: TrialConfig = TrialConfig()
    trusted: Path = Path("/etc/jetvla/trusted.d")
    run_dir: Path = Path("/run/jetvla")
    cameras: dict[str, CameraConfig] = Field(min_length=1)
    state: StateConfig | None = None
    instruction: InstructionConfig = InstructionConfig()
    policy: PolicyConfig = PolicyConfig()
    guard: GuardConfig = GuardConfig()
    ros: RosConfig = RosConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

    @model_validator(mode="before")
    @classmethod
    def _in_store(cls, data: Any) -> Any:
        """A name in the store becomes its path; ``./current`` is no name."""
        if isinstance(data, dict) and isinstance(name := data.get("bundle"), str) and _STORED.fullmatch(name):
            store = data.get("store", cls.model_fields["store"].default)
            if isinstance(store, (str, Path)):
                return {**data, "bundle": str(Path(store) / name)}
        return data

    @model_validator(mode="after")
    def _two_switches(self) -> Config:
        self.guard.check_switches(self.ros.namespace)
        return self

    @property
    def socket(self) -> Path:
        return self.run_dir / "policy.sock"

    @property
    def tap(self) -> Path:
        """Socket from which ``jetvla record`` reads."""
        return self.run_dir / "tap.sock"

    @property
    def status(self) -> Path:
        return self.run_dir / "status.json"

    def spans(self, process: str) -> Path:
        """File in which ``process``, ``policy`` or ``guard``, says what it ran when.

        In a folder of its own: on the appliance all else in ``run_dir`` is the guard's, and closed to the policy.
        """
        return self.run_dir / process / f"{process}.spans"

    @property
    def digest(self) -> str:
        """SHA-256 of everything that is configured, defaults included, as 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    @property
    def limits(self) -> Limits:
        """The guard's limits: defaults, changed by this file."""
        overrides = self.guard.limits.as_mapping()
        return Limits.from_overrides(overrides | {"instruction_ttl_s": self.instruction.ttl_s or _FOREVER_S})

    @property
    def uses_ros(self) -> bool:
        """Whether anything is on ROS 2: a camera, the state, an output, the deadman, or feedback."""
        return (
            any(camera.kind == "ros" for camera in self.cameras.values())
            or any(output.kind != "log" for output in self.guard.outputs)
            or self.state is not None
            or self.guard.deadman != OFF
            or self.guard.feedback.kind != "none"
        )


def load_config(path: Path) -> Config:
    """Read and check ``path``.

    Raises:
        ConfigError: one line for every mistake, as ``file:line: key: what is wrong``.
    """
    if path == DEFAULT_CONFIG and not path.exists():
        raise ConfigError(f"cannot read {path}: No such file or directory; name another with --config FILE")
    return load_section(path, Config, "the configuration")


def load_section(path: Path, model: type[_Section], what: str) -> _Section:
    """Read ``path`` as ``model``; ``what`` is its name in errors. See :func:`load_config`."""
    source = YamlSource.read(path)
    data = {} if source.data is None else source.data
    try:
        return model.model_validate(data, context={"folder": path.resolve().parent})
    except ValidationError as error:
        raise ConfigError("\n".join([f"{what} is wrong:", *problems(error, source, model)])) from error
