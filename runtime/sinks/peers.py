"""Who else is on a command topic. DDS says nothing of a type that does not match, so the guard looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from rclpy.topic_endpoint_info import TopicEndpointInfo

# Offered, not requested: a subscriber with default QoS still matches; one that asks sees within these times
# that commands have ended.
COMMAND_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
    deadline=Duration(nanoseconds=100_000_000),
    lifespan=Duration(nanoseconds=200_000_000),
    liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
    liveliness_lease_duration=Duration(nanoseconds=250_000_000),
)


def peer_problems(node: Node, publisher: Publisher[Any], message_type: str) -> tuple[str, ...]:
    """Why ``node`` may not command by ``publisher``: nobody takes ``message_type`` there, or only with settings that
    never match, or somebody else publishes the topic."""
    problems, topic = [], publisher.topic_name
    readers = node.get_subscriptions_info_by_topic(topic)
    takers = [r for r in readers if r.topic_type == message_type]
    if not takers:
        other = sorted({r.topic_type for r in readers})
        found = f"only as {', '.join(other)}" if other else "nor as anything else"
        problems.append(f"nobody subscribes to {topic} as {message_type}, {found}; start the robot's driver")
    elif not publisher.get_subscription_count():
        reasons = "; ".join(f"{_name(r)}: {_mismatch(r)}" for r in takers)
        problems.append(f"nobody who subscribes to {topic} gets the commands: {reasons}")
    writers = node.get_publishers_info_by_topic(topic)
    # One of this node is the sink's own; a second comes from another process of the same name.
    mine = [w for w in writers if _is_of(node, w)]
    others = [w for w in writers if not _is_of(node, w)] + mine[1:]
    if others:
        names = ", ".join(sorted({_name(w) for w in others}))
        problems.append(f"{names} also publishes {topic}; stop it, or put a multiplexer downstream")
    return tuple(problems)


def _mismatch(reader: TopicEndpointInfo) -> str:
    verdict, why = qos_check_compatible(COMMAND_QOS, reader.qos_profile)
    if verdict == QoSCompatibility.OK:
        return "not connected yet"
    return f"its QoS does not match what the guard offers ({why.strip().rstrip(';')}); relax the driver's"


def _name(endpoint: TopicEndpointInfo) -> str:
    # DDS tells of a publisher before it tells of its node.
    if "UNKNOWN" in endpoint.node_name:
        return "a node whose name is not known yet"
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def _is_of(node: Node, endpoint: TopicEndpointInfo) -> bool:
    mine = (node.get_name(), node.get_namespace())
    return (endpoint.node_name, endpoint.node_namespace) == mine
