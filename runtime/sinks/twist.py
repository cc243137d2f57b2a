"""geometry_msgs/Twist: linear velocity in m/s and angular velocity in rad/s (REP 103)."""

from __future__ import annotations

from geometry_msgs.msg import Twist
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.config import TwistOutput
from jetvla.runtime.contracts import Command
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.ros.session import RosSession

TWIST_TYPE = "geometry_msgs/msg/Twist"

# Offered, not requested: a subscriber with default QoS still matches, one that asks sees within these times
# that commands have ended (docs/SAFETY.md).
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


class TwistSink:
    """Publishes the action's linear and angular dimensions; a name configured as null sends 0."""

    def __init__(self, config: TwistOutput, spec: ActionSpec, session: RosSession) -> None:
        self._linear = _indices(config, spec, "linear")
        self._angular = _indices(config, spec, "angular")
        self.dimensions = tuple(n for n in (*config.linear, *config.angular) if n is not None)
        self._node = session.node
        self._publisher = self._node.create_publisher(Twist, config.topic, COMMAND_QOS)
        self._topic = self._publisher.topic_name

    def publish(self, command: Command) -> None:
        message = Twist()
        for vector, indices in ((message.linear, self._linear), (message.angular, self._angular)):
            vector.x, vector.y, vector.z = (0.0 if i is None else float(command.values[i]) for i in indices)
        self._publisher.publish(message)

    def stay_alive(self) -> None:
        self._publisher.assert_liveliness()

    def peer_problems(self) -> tuple[str, ...]:
        problems = []
        readers = self._node.get_subscriptions_info_by_topic(self._topic)
        if not any(r.topic_type == TWIST_TYPE for r in readers):
            other = sorted({r.topic_type for r in readers})
            found = f"only of {', '.join(other)}" if other else "at all"
            problems.append(f"nobody subscribes to {self._topic} as {TWIST_TYPE} ({found}); start the robot's driver")
        others = [w for w in self._node.get_publishers_info_by_topic(self._topic) if not self._is_ours(w)]
        if others:
            names = ", ".join(sorted({f"{w.node_namespace.rstrip('/')}/{w.node_name}" for w in others}))
            problems.append(f"{names} also publishes {self._topic}; stop it, or put a multiplexer downstream")
        return tuple(problems)

    def _is_ours(self, writer: object) -> bool:
        mine = (self._node.get_name(), self._node.get_namespace())
        return (getattr(writer, "node_name", None), getattr(writer, "node_namespace", None)) == mine

    def close(self) -> None:
        self._node.destroy_publisher(self._publisher)


def _indices(config: TwistOutput, spec: ActionSpec, quantity: str) -> list[int | None]:
    found: list[int | None] = []
    for name in getattr(config, quantity):
        if name is None:
            found.append(None)
            continue
        if name not in spec.names:
            raise ConfigError(
                f"guard.outputs: the twist's {quantity} names {name!r}, but this bundle's action has "
                f"{', '.join(spec.names)}; name one of these, or null for an axis that does not move"
            )
        dimension = spec.dimensions[spec.index(name)]
        if dimension.quantity != quantity or dimension.semantics == "absolute":
            raise ConfigError(
                f"guard.outputs: {name!r} is an {dimension.semantics} {dimension.quantity} quantity, "
                f"and a twist needs a {quantity} velocity; use an output of another kind"
            )
        if dimension.frame != config.frame:
            raise ConfigError(
                f"guard.outputs: {name!r} is expressed in frame {dimension.frame!r}, not {config.frame!r}; "
                "set the output's frame to the one in which the robot takes its twist"
            )
        found.append(spec.index(name))
    return found


def open_sink(config: TwistOutput, spec: ActionSpec, session: RosSession | None) -> TwistSink:
    """See :func:`jetvla.runtime.sinks.open_sink`."""
    assert session is not None  # Config.uses_ros opens one for every twist output
    return TwistSink(config, spec, session)
