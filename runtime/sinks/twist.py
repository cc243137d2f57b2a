"""geometry_msgs/Twist: linear velocity in m/s and angular velocity in rad/s (REP 103)."""

from __future__ import annotations

from geometry_msgs.msg import Twist

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.contracts import Command
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.robot_config import TwistOutput
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.sinks.publisher import CommandPublisher


class TwistSink(CommandPublisher):
    """Publishes the action's linear and angular dimensions; a name configured as null sends 0."""

    def __init__(self, config: TwistOutput, spec: ActionSpec, session: RosSession) -> None:
        self._linear = _indices(config, spec, "linear")
        self._angular = _indices(config, spec, "angular")
        self.dimensions = tuple(n for n in (*config.linear, *config.angular) if n is not None)
        super().__init__(Twist, "geometry_msgs/msg/Twist", config.topic, session)

    def publish(self, command: Command) -> None:
        message = Twist()
        for vector, indices in ((message.linear, self._linear), (message.angular, self._angular)):
            vector.x, vector.y, vector.z = (0.0 if i is None else float(command.values[i]) for i in indices)
        self.send(message)


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
