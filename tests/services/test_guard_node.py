"""The guard process on real ROS 2: lifecycle, parameters, diagnostics, deadman, e-stop and feedback."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy (extra 'ros')")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, Twist
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import Config
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.arming import State
from jetvla.runtime.link.protocol import CameraHealth, Health, Hello, Idle, IdleReason, StageTimes
from jetvla.runtime.ros.session import RosSession
from jetvla.services.guard_process import GuardProcess

# rclpy's own dependency lark imports it.
pytestmark = [pytest.mark.ros, pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")]

PATIENCE_S = 60.0
LATCHED_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_DOMAINS = count()
TWIST = {"kind": "twist", "linear": ["x", "y", "z"], "angular": ["roll", "pitch", "yaw"]}
JOINTS = ActionSpec(
    dimensions=tuple(ActionDimension(name=n, quantity="joint", unit="rad", semantics="absolute") for n in ("a", "b"))
)


class Rig:
    """A guard process that the test ticks, and an operator's node that the test spins."""

    def __init__(self, folder: Path, bundle: Bundle, resources: ExitStack, guard: Any, ros: Any) -> None:
        domain = (os.getpid() + 37 * next(_DOMAINS)) % 100 + 1
        self.config = Config.model_validate(
            {
                "bundle": "bundle",
                "run_dir": folder,
                "cameras": {"front": {"kind": "frames", "path": "pictures", "fps": 12.5}},
                # While a test makes another node, nobody ticks.
                "guard": {"limits": {"rest_s": 0.05, "period_ratio": 100}} | guard,
                "ros": {"domain_id": domain} | ros,
            }
        )
        self.bundle = bundle.digest
        self.operator = resources.enter_context(RosSession("operator", domain_id=domain))
        self.node: Any = self.operator.node
        self.process = resources.enter_context(GuardProcess(self.config, bundle))
        self.guard = self.process.guard
        self.seq = 0

    def turn(self) -> None:
        """A healthy policy's report, a tick of the guard, and mail for the operator."""
        now_ns = time.monotonic_ns()
        self.process._take(Health(now_ns, StageTimes(), (CameraHealth(0, self.seq, now_ns),)))
        self.seq += 1
        self.process.tick()
        self.operator.spin_once(0.002)

    def until(self, condition: Callable[[], Any], act: Callable[[], None] = lambda: None) -> Any:
        give_up = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < give_up, f"waited in vain; {self.guard.faults}"
            act()
            self.turn()
        return found

    def hello(self) -> None:
        self.process._take(Hello(self.bundle, "cd" * 32, True, 0.0))

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(kind, f"/jetvla_guard/{name}")
        self.until(client.service_is_ready)
        # A server that does not know its client yet loses the answer.
        self.until(lambda: self.process._session.node.count_clients(f"/jetvla_guard/{name}"))
        future = client.call_async(request)
        self.until(future.done)
        return future.result()

    def change(self, transition: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(ChangeState, "change_state", request).success)

    def lifecycle(self) -> str:
        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def arm(self) -> Any:
        return self.call(Trigger, "arm", Trigger.Request())

    def armed(self) -> bool:
        """A driver is there and the guard armed by its service."""
        self.node.create_subscription(Twist, "/cmd_vel", lambda _: None, 10)
        self.hello()
        self.until(lambda: not self.process._outputs.problems())
        return bool(self.arm().success)


Make = Callable[..., Rig]


@pytest.fixture
def make(tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_LOCALHOST_ONLY", "1")
    opened = Bundle.open(tiny_bundle, None)

    with ExitStack() as resources:

        def begin(action: ActionSpec | None = None, ros: Any = None, **guard: Any) -> Rig:
            manifest = opened.manifest if action is None else opened.manifest.model_copy(update={"action": action})
            bundle = dataclasses.replace(opened, manifest=manifest)
            return Rig(tmp_path, bundle, resources, guard or {"outputs": [TWIST]}, ros or {})

        yield begin


def test_a_lifecycle_manager_configures_activates_and_stops_it(make: Make) -> None:
    rig = make(ros={"autostart": False})
    assert rig.lifecycle() == "unconfigured"
    assert rig.node.get_publishers_info_by_topic("/cmd_vel") == []
    rig.hello()
    assert "the node is not active" in rig.arm().message
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.lifecycle() == "inactive"
    rig.until(lambda: rig.node.get_publishers_info_by_topic("/cmd_vel"))
    assert "the node is not active" in rig.arm().message
    assert rig.change(Transition.TRANSITION_ACTIVATE)
    assert rig.guard.state is State.DISARMED, "activating never arms"
    assert rig.armed()
    assert not rig.change(Transition.TRANSITION_CLEANUP), "not from active"
    assert rig.change(Transition.TRANSITION_DEACTIVATE)
    assert rig.guard.state is not State.ARMED
    rig.until(lambda: not rig.guard.publishing)
    assert rig.change(Transition.TRANSITION_CLEANUP)
    assert rig.lifecycle() == "unconfigured"
    rig.until(lambda: not rig.node.get_publishers_info_by_topic("/cmd_vel"))


def test_it_starts_active_and_a_shutdown_ends_the_process_after_a_controlled_stop(make: Make) -> None:
    rig = make()
    assert rig.lifecycle() == "active"
    assert rig.armed()
    assert rig.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert rig.guard.publishing, "first the zeros"
    rig.process.run(lambda: False)
    assert not rig.guard.publishing
    assert rig.guard.state is State.DISARMED


def test_cleanup_waits_until_the_robot_has_been_stopped(make: Make) -> None:
    rig = make()
    assert rig.armed()
    rig.process.lifecycle.deactivate()
    assert rig.guard.publishing
    assert "not stopped yet" in "".join(rig.process.lifecycle.cleanup())
    rig.until(lambda: not rig.guard.publishing)
    assert rig.process.lifecycle.cleanup() == ()


def test_what_cannot_be_configured_stays_unconfigured_or_ends_the_start(make: Make) -> None:
    wrong = {"kind": "gripper", "dimension": "x"}
    rig = make(ros={"autostart": False}, outputs=[wrong])
    assert not rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.lifecycle() == "unconfigured"
    with pytest.raises(ConfigError, match="'x' is not an absolute gripper"):
        make(outputs=[wrong])


def test_parameters_mirror_the_configuration_and_cannot_be_written(make: Make) -> None:
    rig = make()
    names = list(rig.call(ListParameters, "list_parameters", ListParameters.Request()).result.names)
    wanted = ["cameras.front.fps", "guard.outputs.0.topic", "guard.rate_hz", "instruction.stop_words", "ros.namespace"]
    assert set(wanted) <= set(names)
    values = rig.call(GetParameters, "get_parameters", GetParameters.Request(names=wanted)).values
    assert [values[0].double_value, values[1].string_value, values[2].double_value] == [12.5, "/cmd_vel", 100.0]
    assert list(values[3].string_array_value) == ["stop", "halt"]
    request = SetParameters.Request(
        parameters=[
            Parameter("guard.rate_hz", value=5.0).to_parameter_msg(),
            Parameter("use_sim_time", value=True).to_parameter_msg(),
        ]
    )
    results = rig.call(SetParameters, "set_parameters", request).results
    assert [result.successful for result in results] == [False, False]
    assert "read-only" in results[0].reason
    assert "jetvla.yaml" in results[1].reason
    again = rig.call(GetParameters, "get_parameters", GetParameters.Request(names=["guard.rate_hz", "use_sim_time"]))
    assert [again.values[0].double_value, again.values[1].bool_value] == [100.0, False]


def test_diagnostics_name_guard_policy_and_every_camera(make: Make) -> None:
    rig = make()
    heard: list[DiagnosticArray] = []
    rig.node.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
    rig.hello()

    def level(component: str) -> bytes:
        return next(bytes(s.level) for s in heard[-1].status if s.name == f"jetvla_guard: {component}")

    rig.until(lambda: heard)
    assert [s.name for s in heard[0].status] == [
        "jetvla_guard: guard",
        "jetvla_guard: policy",
        "jetvla_guard: camera front",
    ]
    assert all(s.hardware_id == rig.bundle[:12] for s in heard[0].status)
    rig.node.create_subscription(Twist, "/cmd_vel", lambda _: None, 10)
    rig.until(lambda: level("guard") == DiagnosticStatus.OK)
    assert level("policy") == level("camera front") == DiagnosticStatus.OK
    rig.guard.on_estop(True)
    rig.until(lambda: level("guard") == DiagnosticStatus.ERROR)
    assert "emergency stop" in next(s.message for s in heard[-1].status if s.name.endswith(": guard"))
    # Once a second, by the headers' stamps.
    rig.until(lambda: len(heard) >= 4)
    stamps = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in heard]
    assert min(np.diff(stamps)) > 0.9


def test_the_deadman_must_be_held_and_kept_held(make: Make) -> None:
    rig = make(outputs=[TWIST], deadman="~/deadman")
    deadman = rig.node.create_publisher(Bool, "/jetvla_guard/deadman", 10)
    assert not rig.armed()
    assert "deadman" in "; ".join(rig.guard.refusals())

    def hold(held: bool) -> Callable[[], None]:
        return lambda: deadman.publish(Bool(data=held))

    rig.until(lambda: "deadman" not in "; ".join(rig.guard.refusals()), hold(True))
    rig.until(lambda: not rig.process.arm(), hold(True))
    rig.until(lambda: rig.guard.state is not State.ARMED, hold(False))
    rig.until(lambda: not rig.guard.publishing, hold(True))
    assert rig.guard.state is State.DISARMED, "held again, it does not arm"
    rig.until(lambda: not rig.process.arm(), hold(True))
    silent_s = time.monotonic()
    rig.until(lambda: rig.guard.state is not State.ARMED)
    assert time.monotonic() - silent_s > 0.2


def test_an_estop_that_vanishes_is_no_release(make: Make) -> None:
    rig = make()
    with RosSession("button", domain_id=rig.config.ros.domain_id) as button:
        publisher = button.node.create_publisher(Bool, "/jetvla_guard/estop", 10)
        rig.until(lambda: rig.guard.state is State.LATCHED, lambda: publisher.publish(Bool(data=True)))
    rig.until(lambda: not rig.node.get_publishers_info_by_topic("/jetvla_guard/estop"))
    answer = rig.call(Trigger, "reset", Trigger.Request())
    assert not answer.success
    assert "emergency stop is pressed" in answer.message
    again = rig.node.create_publisher(Bool, "/jetvla_guard/estop", 10)
    rig.until(lambda: "estop" not in rig.guard.faults, lambda: again.publish(Bool(data=False)))
    assert rig.guard.state is State.LATCHED, "a release does not reset"
    assert rig.call(Trigger, "reset", Trigger.Request()).success
    assert rig.guard.state is State.DISARMED, "a reset does not arm"


def test_an_estop_that_was_pressed_before_the_guard_came_is_known(make: Make) -> None:
    domain = (os.getpid() + 99) % 100 + 1
    with RosSession("button", domain_id=domain) as button:
        button.node.create_publisher(Bool, "/jetvla_guard/estop", LATCHED_QOS).publish(Bool(data=True))
        rig = make(ros={"domain_id": domain})
        rig.until(lambda: rig.guard.state is State.LATCHED)


def test_the_state_is_there_for_those_who_come_late(make: Make) -> None:
    rig = make()
    rig.hello()
    rig.turn()
    heard: list[String] = []
    rig.node.create_subscription(String, "/jetvla_guard/state", heard.append, LATCHED_QOS)
    rig.until(lambda: heard)
    assert '"state": "DISARMED"' in heard[-1].data


def test_a_second_guard_is_another_publisher_though_it_has_the_same_name(make: Make) -> None:
    rig = make()
    assert rig.armed()
    with RosSession("jetvla_guard", domain_id=rig.config.ros.domain_id) as other:
        other.node.create_publisher(Twist, "/cmd_vel", 10)
        rig.until(lambda: rig.guard.state is not State.ARMED)
        assert "/jetvla_guard also publishes /cmd_vel" in rig.guard.faults["peers"], rig.guard.faults


def joint_state(rig: Rig, **positions: float) -> JointState:
    message = JointState(name=list(positions), position=list(positions.values()))
    message.header.stamp = rig.node.get_clock().now().to_msg()
    return message


def test_joint_states_are_feedback_by_name_and_their_end_is_noticed(make: Make) -> None:
    rig = make(
        JOINTS,
        outputs=[{"kind": "joint_trajectory", "topic": "/trajectory"}],
        feedback={"kind": "joint_states", "joints": {"b": "robot_b"}},
    )
    rig.hello()
    states = rig.node.create_publisher(JointState, "/joint_states", 10)

    def missing() -> str:
        return "; ".join(rig.guard.refusals())

    rig.until(lambda: rig.seq > 5)
    assert "a, b: the position is not measured" in missing()

    def tell() -> None:
        states.publish(joint_state(rig, wheel=9.0, robot_b=-0.5, a=0.25, b=7.0))

    rig.until(lambda: "measured" not in missing() and "feedback" not in missing(), tell)
    held: list[JointTrajectory] = []
    rig.node.create_subscription(JointTrajectory, "/trajectory", held.append, 10)
    rig.until(lambda: not rig.process.arm(), tell)
    rig.until(lambda: held, tell)
    assert list(held[0].points[0].positions) == [0.25, -0.5], "it holds where the robot is"

    def tell_half() -> None:
        states.publish(joint_state(rig, a=0.25))

    rig.until(lambda: rig.guard.state is not State.ARMED, tell_half)
    assert "feedback" in missing(), "one driver died, and another goes on"
    noted = "feedback: the positions that come lack robot_b"
    rig.until(lambda: noted in rig.process.report._events, tell_half)
    rig.until(lambda: "feedback" not in missing(), tell)
    rig.until(lambda: "feedback" in missing())


def test_a_joint_state_that_cannot_be_used_is_noted(make: Make) -> None:
    rig = make(JOINTS, outputs=[{"kind": "joint_trajectory"}], feedback={"kind": "joint_states"})
    states = rig.node.create_publisher(JointState, "/joint_states", 10)
    unstamped = JointState(name=["a", "b"], position=[0.0, 0.0])
    rig.until(
        lambda: any("header stamp is zero" in line for line in rig.process.report._events),
        lambda: states.publish(unstamped),
    )


BOX = {"frame": "map", "low": [-1.0, -1.0, -1.0], "high": [1.0, 1.0, 1.0], "margin": 0.2}


def test_a_pose_keeps_the_workspace(make: Make, tiny_bundle: Path) -> None:
    action = Bundle.open(tiny_bundle, None).manifest.action
    moved = [d.model_copy(update={"frame": "map"}) if d.frame else d for d in action.dimensions]
    rig = make(
        action.model_copy(update={"dimensions": tuple(moved)}),
        outputs=[TWIST | {"frame": "map"}],
        limits={"workspace": BOX},
        feedback={"kind": "pose", "frame": "map"},
    )
    rig.hello()
    poses = rig.node.create_publisher(PoseStamped, "/pose", 10)

    def tell(frame: str = "map") -> None:
        message = PoseStamped()
        message.header.frame_id = frame
        message.header.stamp = rig.node.get_clock().now().to_msg()
        poses.publish(message)

    def wrong() -> str:
        return "; ".join(rig.guard.refusals())

    rig.until(lambda: any("frame 'odom'" in line for line in rig.process.report._events), lambda: tell("odom"))
    assert "pose" in wrong()
    rig.until(lambda: "pose" not in wrong(), tell)
    rig.until(lambda: "pose" in wrong())


@pytest.mark.parametrize(
    ("guard", "says"),
    [
        ({"feedback": {"kind": "joint_states"}}, "this bundle has no absolute joint"),
        ({"feedback": {"kind": "joint_states", "joints": {"x": "wheel"}}}, "x is no absolute dimension in rad or m"),
        ({"feedback": "none", "limits": {"workspace": BOX}}, "set guard.feedback to kind: pose, frame: map"),
        ({"feedback": {"kind": "pose"}, "limits": {"workspace": BOX}}, "set guard.feedback to kind: pose, frame: map"),
    ],
)
def test_feedback_that_does_not_fit_is_refused(make: Make, guard: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make(outputs=[TWIST], **guard)


def test_a_policy_without_joint_states_is_not_armed_and_the_reason_is_told(make: Make) -> None:
    rig = make()
    rig.hello()
    rig.process._take(Idle(IdleReason.NO_STATE, "joint 'elbow' has not come yet"))
    assert rig.process.report.policy == "idle, no state: joint 'elbow' has not come yet"
    assert "no_state: joint 'elbow' has not come yet" in "; ".join(rig.guard.refusals())
