"""The guard's ROS 2 face: instruction and e-stop in, state out, arm, disarm and reset as services."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from jetvla.runtime.config import Config
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.ros.spinner import Mailbox

GUARD_NODE = "jetvla_guard"

STATE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True)
class Operator:
    """What an operator may ask of the guard. ``arm`` and ``reset`` return the reasons of a refusal, empty if done."""

    instruct: Callable[[str], None]
    estop: Callable[[bool], None]
    arm: Callable[[], tuple[str, ...]]
    disarm: Callable[[], tuple[str, ...]]
    reset: Callable[[], tuple[str, ...]]


class GuardNode:
    """Wires an :class:`Operator` to topics and services, and publishes the state whenever it changes.

    The node's thread only receives; what the operator asks for is done where ``mailbox`` is worked off.
    """

    def __init__(self, session: RosSession, config: Config, operator: Operator, mailbox: Mailbox) -> None:
        node = session.node
        self._state = node.create_publisher(String, "~/state", STATE_QOS)
        node.create_subscription(
            String, config.instruction.topic, lambda m: mailbox.post(lambda: operator.instruct(m.data)), 10
        )
        node.create_subscription(
            Bool, config.guard.estop, lambda m: mailbox.post(lambda: operator.estop(bool(m.data))), 10
        )
        for name, action in (("arm", operator.arm), ("disarm", operator.disarm), ("reset", operator.reset)):
            node.create_service(Trigger, f"~/{name}", _service(name, action, mailbox))

    def publish_state(self, state: str, reason: str) -> None:
        """Publish ``{"state", "reason"}`` to late joiners too."""
        self._state.publish(String(data=json.dumps({"state": state, "reason": reason})))


def _service(
    name: str, action: Callable[[], tuple[str, ...]], mailbox: Mailbox
) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
    def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        refusals = mailbox.ask(action)
        response.success = not refusals
        response.message = "; ".join(refusals) or f"{name}: done"
        return response

    return answer
