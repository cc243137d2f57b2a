"""The guard's ROS 2 face: what an operator and the robot say in; state, diagnostics and parameters out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from jetvla.runtime.config import Config
from jetvla.runtime.ros.diagnostics import Diagnostics
from jetvla.runtime.ros.managed_node import ManagedNode, Transitions
from jetvla.runtime.ros.parameters import mirror
from jetvla.runtime.ros.qos import ESTOP_QOS, SENSOR_QOS, STATE_QOS
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.ros.spinner import Mailbox
from jetvla.runtime.ros_names import OFF
from jetvla.runtime.telemetry.diagnosis import Diagnosis

_FEEDBACK_TYPES = {"joint_states": JointState, "pose": PoseStamped}


@dataclass(frozen=True)
class Operator:
    """What an operator may ask of the guard. ``arm`` and ``reset`` return the reasons of a refusal, empty if done."""

    instruct: Callable[[str], None]
    estop: Callable[[bool], None]
    deadman: Callable[[bool], None]
    arm: Callable[[], tuple[str, ...]]
    disarm: Callable[[], tuple[str, ...]]
    reset: Callable[[], tuple[str, ...]]


class GuardNode:
    """Wires an :class:`Operator` to topics and services, and publishes the state whenever it changes.

    The node's thread only receives; what the operator asks for is done where ``mailbox`` is worked off.

    Args:
        session: a managed one.
        bundle: digest, for the diagnostics.
        receive: takes the messages of the configured feedback, in the node's thread; None without feedback.
    """

    def __init__(
        self,
        session: RosSession,
        config: Config,
        operator: Operator,
        transitions: Transitions,
        mailbox: Mailbox,
        bundle: str,
        receive: Callable[[Any], None] | None = None,
    ) -> None:
        node, guard = session.node, config.guard
        assert isinstance(node, ManagedNode)  # the session was opened with managed=True
        self._managed = node
        node.serve(transitions, mailbox)
        self._state = node.create_publisher(String, "~/state", STATE_QOS)
        self._diagnostics = Diagnostics(node, bundle)
        node.create_subscription(
            String, config.instruction.topic, lambda m: mailbox.post(lambda: operator.instruct(m.data)), 10
        )
        for qos in ESTOP_QOS:
            node.create_subscription(Bool, guard.estop, _posting(operator.estop, mailbox), qos)
        if guard.deadman != OFF:
            node.create_subscription(Bool, guard.deadman, _posting(operator.deadman, mailbox), 10)
        if receive is not None and guard.feedback.kind != "none":
            node.create_subscription(_FEEDBACK_TYPES[guard.feedback.kind], guard.feedback.topic, receive, SENSOR_QOS)
        for name, action in (("arm", operator.arm), ("disarm", operator.disarm), ("reset", operator.reset)):
            node.create_service(Trigger, f"~/{name}", _service(name, action, mailbox))
        mirror(config, node)

    def start(self) -> None:
        """Go to ``active``, as a lifecycle manager would."""
        self._managed.start()

    def publish_state(self, state: str, reason: str) -> None:
        """Publish ``{"state", "reason"}`` to late joiners too."""
        self._state.publish(String(data=json.dumps({"state": state, "reason": reason})))

    def publish_diagnostics(self, diagnoses: Iterable[Diagnosis]) -> None:
        """Publish to ``/diagnostics``."""
        self._diagnostics.publish(diagnoses)


def _posting(action: Callable[[bool], None], mailbox: Mailbox) -> Callable[[Bool], None]:
    return lambda message: mailbox.post(lambda: action(bool(message.data)))


def _service(
    name: str, action: Callable[[], tuple[str, ...]], mailbox: Mailbox
) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
    def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        refusals = mailbox.ask(action)
        response.success = not refusals
        response.message = "; ".join(refusals) or f"{name}: done"
        return response

    return answer
