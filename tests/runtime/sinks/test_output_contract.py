"""What every output mapping owes to the robot, on real ROS 2: one suite that each of them inherits."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("rclpy", reason="needs rclpy (extra 'ros')")

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Float64, String
from trajectory_msgs.msg import JointTrajectory

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import FakeClock, seconds_to_ns
from jetvla.runtime.config import Config
from jetvla.runtime.contracts import ActionChunk, Instruction
from jetvla.runtime.guard.arming import State
from jetvla.runtime.link.protocol import CameraHealth, Health, Hello, StageTimes
from jetvla.runtime.ros.session import RosSession
from jetvla.services.guard_process import GuardProcess

# rclpy's own dependency lark imports it.
pytestmark = [pytest.mark.ros, pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")]

PATIENCE_S = 60.0
PERIOD_S = 0.01
REST_S = 0.1
SENTENCE = "pick up the red block"
_DOMAINS = count()


def _rate(name: str, quantity: Any) -> ActionDimension:
    unit: Any = "m/s" if quantity == "linear" else "rad/s"
    return ActionDimension(name=name, quantity=quantity, unit=unit, semantics="velocity", frame="tool0")


SPEC = ActionSpec(
    dimensions=(
        *(_rate(name, "linear") for name in ("x", "y", "z")),
        *(_rate(name, "angular") for name in ("roll", "pitch", "yaw")),
        ActionDimension(name="elbow", quantity="joint", unit="rad", semantics="absolute"),
        ActionDimension(name="lift", quantity="joint", unit="m", semantics="absolute"),
        ActionDimension(name="gripper", quantity="gripper", unit="1", semantics="absolute", range=(0.0, 1.0)),
    ),
    rotation="rotation_vector",
)
START = np.array([0, 0, 0, 0, 0, 0, 0.7, 0.2, 0.8])
# Norms of 0.2 m/s and 0.4 rad/s, and positions that are reached within the limits.
REQUEST = np.array([0.12, 0.16, 0, 0, 0, 0.4, 0.8, 0.22, 0.3])
MOST = np.array([*[0.25] * 3, *[0.5] * 3, 0.5, 0.1, 1.0])  # m/s, rad/s, rad/s, m/s, 1/s
STEEPEST = np.array([*[1.0] * 3, *[2.0] * 3, 2.0, 1.0, 4.0])  # the same per second: deceleration


def until(condition: Callable[[], object], act: Callable[[], None], what: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, f"waited in vain: {what}"
        act()


class Trial:
    """A guard process on a fake clock with one output, and the robot's driver in another ROS context."""

    def __init__(self, output: dict[str, Any], folder: Path, bundle: Bundle, resources: ExitStack) -> None:
        domain = (os.getpid() + 53 * next(_DOMAINS)) % 100 + 1
        self.clock = FakeClock()
        config = Config.model_validate(
            {
                "bundle": "bundle",
                "run_dir": folder,
                "cameras": {"front": {"kind": "frames", "path": "pictures"}},
                "instruction": {"text": SENTENCE},
                "guard": {"outputs": [output], "limits": {"rest_s": REST_S}},
                "ros": {"domain_id": domain},
            }
        )
        self.driver = resources.enter_context(RosSession("driver", domain_id=domain))
        self.other = resources.enter_context(RosSession("joystick", domain_id=domain))
        self.process = resources.enter_context(GuardProcess(config, bundle, clock=self.clock))
        self.guard = self.process.guard
        self.bundle, self.topic = bundle.digest, output["topic"]
        self.got: list[Any] = []
        self.seq = 0

    def spin(self) -> None:
        self.driver.spin_once(0.005)

    def refusal(self) -> str:
        return "; ".join(self.process.arm())

    def connect(self) -> None:
        self.guard.on_hello(Hello(self.bundle, "cd" * 32, True, 0.0))
        self.tick(REQUEST)

    def tick(self, request: NDArray[np.float64] | None) -> None:
        """One period; the policy asks for ``request`` ten times a second, or is silent."""
        self.clock.advance(PERIOD_S)
        if request is not None:
            now_ns = self.clock.now_ns()
            if self.seq % 10 == 0:
                rows, sentence = request.astype(np.float32)[None], Instruction.of(SENTENCE, 0).id
                t0_ns, dt_ns = now_ns - seconds_to_ns(0.03), seconds_to_ns(0.1)
                self.guard.on_chunk(ActionChunk(rows, t0_ns, dt_ns, sentence, self.bundle, self.seq))
            camera = CameraHealth(0, self.seq, now_ns - seconds_to_ns(0.03))
            self.guard.on_health(Health(now_ns, StageTimes(), (camera,)))
            self.seq += 1
        self.process.tick()

    def run(self, seconds: float, request: NDArray[np.float64] | None) -> list[Any]:
        """What the driver got during ``seconds`` of the guard's time."""
        first = len(self.got)
        for _ in range(round(seconds / PERIOD_S)):
            expected = len(self.got) + self.guard.publishing
            self.tick(request)
            if self.guard.publishing and expected > len(self.got):
                until(lambda: len(self.got) >= expected, self.spin, "a command")  # noqa: B023
        self.spin()
        return self.got[first:]


@dataclasses.dataclass
class Story:
    """What happened, in order; commands as the driver got them."""

    wrong_type: str
    wrong_qos: str
    second_publisher: str
    qos: Any
    disarmed: list[Any]
    armed: list[Any]
    stopping: list[Any]
    quiet: list[Any]
    alive_while_ticking: bool
    lost_after: float


class OutputContract:
    """Inherited by the tests of every mapping.

    Attributes:
        output: its configuration.
        message: what it publishes, and ``type_name`` as the graph calls that.
        carried: indices of the action that it carries, in the order that :meth:`values` gives.
        holds: after a fault the value stays; else it is zero.
    """

    output: ClassVar[dict[str, Any]]
    message: ClassVar[type]
    type_name: ClassVar[str]
    carried: ClassVar[list[int]]
    holds: ClassVar[bool]

    @staticmethod
    def values(message: Any) -> list[float]:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Story]:
        patch = pytest.MonkeyPatch()
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        patch.setenv("ROS_LOCALHOST_ONLY", "1")
        bundle = Bundle.open(tiny_bundle, None)
        manifest = bundle.manifest.model_copy(update={"action": SPEC})
        bundle = dataclasses.replace(bundle, manifest=manifest)
        with ExitStack() as resources:
            trial = Trial(cls.output, tmp_path_factory.mktemp("guard"), bundle, resources)
            trial.connect()
            yield cls.tell(trial)
        patch.undo()

    @classmethod
    def tell(cls, trial: Trial) -> Story:
        node, topic = trial.driver.node, trial.topic
        mistaken = node.create_subscription(String, topic, lambda _: None, 10)
        until(lambda: "only as" in trial.refusal(), trial.spin, "the mistaken subscriber is seen")
        wrong_type = trial.refusal()
        node.destroy_subscription(mistaken)
        sooner = QoSProfile(depth=1, deadline=Duration(nanoseconds=50_000_000))
        deaf = node.create_subscription(cls.message, topic, lambda _: None, sooner)
        until(lambda: "/driver: its QoS" in trial.refusal(), trial.spin, "the subscriber that never matches is seen")
        wrong_qos = trial.refusal()
        node.destroy_subscription(deaf)
        lost: list[float] = []
        node.create_subscription(
            cls.message,
            topic,
            trial.got.append,
            QoSProfile(
                depth=100,
                liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
                liveliness_lease_duration=Duration(nanoseconds=250_000_000),
            ),
            event_callbacks=SubscriptionEventCallbacks(
                liveliness=lambda event: lost.append(time.monotonic()) if event.not_alive_count_change > 0 else None
            ),
        )
        joystick = trial.other.node.create_publisher(cls.message, topic, 10)
        until(lambda: "joystick also publishes" in trial.refusal(), trial.spin, "the second publisher is seen")
        second_publisher = trial.refusal()
        trial.other.node.destroy_publisher(joystick)
        until(lambda: not trial.process._outputs.problems(), trial.spin, "driver and guard are alone")

        disarmed = trial.run(0.3, REQUEST)
        trial.guard.on_feedback(START.copy())
        assert trial.refusal() == ""
        armed = trial.run(1.5, REQUEST)
        trial.guard.on_link_lost("the test says so")
        stopping = trial.run(1.0, None)
        assert trial.guard.state is State.DISARMED
        quiet = trial.run(0.3, None)

        said = cls.tick_in_real_time(trial, lost)
        alive = not lost
        assert alive, "it told that it lives, and was taken for dead"
        until(lambda: lost, trial.spin, "the guard's silence is noticed")
        (writer,) = node.get_publishers_info_by_topic(topic)
        return Story(
            wrong_type,
            wrong_qos,
            second_publisher,
            writer.qos_profile,
            disarmed,
            armed,
            stopping,
            quiet + trial.got[len(disarmed) + len(armed) + len(stopping) + len(quiet) :],
            alive,
            lost[0] - said,
        )

    @staticmethod
    def tick_in_real_time(trial: Trial, lost: list[float]) -> float:
        """For longer than the lease; again if the machine held up the test itself. When it last said that it lives."""
        outputs, longest_s, said = trial.process._outputs, 1.0, [0.0]
        stay_alive = outputs.stay_alive

        def say() -> None:
            said.append(time.monotonic())
            stay_alive()

        outputs.stay_alive = say  # type: ignore[method-assign]
        while longest_s > 0.2:
            trial.tick(None)
            trial.spin()
            lost.clear()
            begin = last = time.monotonic()
            longest_s = 0.0
            while last - begin < 0.4:
                trial.spin()
                longest_s, last = max(longest_s, time.monotonic() - last), time.monotonic()
                trial.tick(None)
            trial.spin()
            longest_s = max(longest_s, time.monotonic() - last)
        return said[-1]

    def path(self, *phases: list[Any]) -> NDArray[np.float64]:
        """[n, carried] of all commands of ``phases``."""
        return np.array([self.values(message) for phase in phases for message in phase])

    def test_nothing_is_sent_before_arming(self, story: Story) -> None:
        assert story.disarmed == []

    def test_every_tick_of_the_armed_guard_is_one_command_that_goes_where_the_policy_wants(self, story: Story) -> None:
        assert len(story.armed) == 150
        np.testing.assert_allclose(self.path(story.armed)[-1], REQUEST[self.carried], atol=1e-6)

    def test_commands_are_finite_and_within_limits(self, story: Story) -> None:
        path = self.path(story.armed, story.stopping)
        assert np.isfinite(path).all()
        steps = np.diff(path, axis=0)
        fastest = steps / PERIOD_S if self.holds else path
        change = np.diff(steps, axis=0) / PERIOD_S**2 if self.holds else steps / PERIOD_S
        assert (np.abs(fastest) <= MOST[self.carried] * 1.0001).all()
        assert (np.abs(change) <= STEEPEST[self.carried] * 1.0001 + 1e-9).all()

    def test_a_fault_ends_in_rest_and_then_in_silence(self, story: Story) -> None:
        path = self.path(story.stopping)
        last = path[-round(REST_S / PERIOD_S) :]
        assert (last == last[0]).all()
        if self.holds:
            np.testing.assert_allclose(last[0], self.path(story.armed)[-1], atol=0.02)
            assert (path != 0).all(), "zero is a motion command for an absolute joint"
        else:
            assert not last.any()
        assert len(story.stopping) < 100
        assert story.quiet == []

    def test_a_subscriber_of_another_type_is_none_and_is_named(self, story: Story) -> None:
        assert f"nobody subscribes to {self.output['topic']} as {self.type_name}" in story.wrong_type

    def test_a_driver_whose_qos_never_matches_is_named(self, story: Story) -> None:
        said = f"nobody who subscribes to {self.output['topic']} gets the commands: /driver: its QoS does not match"
        assert said in story.wrong_qos
        assert "deadline" in story.wrong_qos.lower()
        assert "only as std_msgs/msg/String" in story.wrong_type

    def test_a_second_publisher_is_refused_by_name(self, story: Story) -> None:
        assert f"/joystick also publishes {self.output['topic']}" in story.second_publisher

    def test_quality_of_service_as_promised(self, story: Story) -> None:
        assert story.qos.deadline == Duration(nanoseconds=100_000_000)
        assert story.qos.lifespan == Duration(nanoseconds=200_000_000)
        assert story.qos.liveliness == LivelinessPolicy.MANUAL_BY_TOPIC
        assert story.qos.liveliness_lease_duration == Duration(nanoseconds=250_000_000)
        assert story.qos.reliability == ReliabilityPolicy.RELIABLE
        assert story.qos.durability == DurabilityPolicy.VOLATILE

    def test_it_says_that_it_lives_while_quiet_and_is_missed_when_it_ends(self, story: Story) -> None:
        assert story.alive_while_ticking
        # The lease is a quarter of a second from the last word.
        assert story.lost_after > 0.24


class TestTwist(OutputContract):
    output: ClassVar[dict[str, Any]] = {"kind": "twist", "topic": "/cmd_vel", "frame": "tool0"}
    message, type_name = Twist, "geometry_msgs/msg/Twist"
    carried: ClassVar[list[int]] = list(range(6))
    holds = False

    @staticmethod
    def values(message: Any) -> list[float]:
        linear, angular = message.linear, message.angular
        return [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]


class TestTwistStamped(OutputContract):
    output: ClassVar[dict[str, Any]] = {"kind": "twist_stamped", "topic": "/cmd_vel"}
    message, type_name = TwistStamped, "geometry_msgs/msg/TwistStamped"
    carried: ClassVar[list[int]] = list(range(6))
    holds = False

    @staticmethod
    def values(message: Any) -> list[float]:
        return TestTwist.values(message.twist)

    def test_the_header_has_the_actions_frame_and_the_time_of_publication(self, story: Story) -> None:
        headers = [message.header for message in story.armed]
        assert {header.frame_id for header in headers} == {"tool0"}
        stamps = [header.stamp.sec + header.stamp.nanosec * 1e-9 for header in headers]
        assert stamps == sorted(stamps)
        assert 0 <= time.time() - stamps[0] < PATIENCE_S


class TestJointTrajectory(OutputContract):
    output: ClassVar[dict[str, Any]] = {
        "kind": "joint_trajectory",
        "topic": "/arm/joint_trajectory",
        "joints": {"lift": "column", "elbow": "left_elbow"},
    }
    message, type_name = JointTrajectory, "trajectory_msgs/msg/JointTrajectory"
    carried: ClassVar[list[int]] = [7, 6]
    holds = True

    @staticmethod
    def values(message: Any) -> list[float]:
        return list(message.points[-1].positions)

    def test_joints_have_the_robots_names(self, story: Story) -> None:
        assert {tuple(message.joint_names) for message in story.armed} == {("column", "left_elbow")}

    def test_it_never_reaches_more_than_two_ticks_ahead_and_starts_now(self, story: Story) -> None:
        for message in [*story.armed, *story.stopping]:
            ahead = [p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in message.points]
            assert 0 < ahead[0] <= ahead[-1] <= 2 * PERIOD_S
            assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 0)
            assert not message.points[-1].velocities


class TestGripper(OutputContract):
    output: ClassVar[dict[str, Any]] = {"kind": "gripper", "topic": "/gripper_command"}
    message, type_name = Float64, "std_msgs/msg/Float64"
    carried: ClassVar[list[int]] = [8]
    holds = True

    @staticmethod
    def values(message: Any) -> list[float]:
        return [message.data]
