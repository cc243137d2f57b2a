"""Both daemons of one configuration: ``ros2 launch FILE config:=/etc/jetvla/jetvla.yaml``.

The policy is started again when it ends, for the guard waits for the next one, disarmed. When the guard ends all is
over: without it nobody may move the robot.
"""

import sys

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, Shutdown
from launch.substitutions import LaunchConfiguration

# A controlled stop and the zeros after it take less than 3 s; only then may launch become impatient.
STOP_S = "10"


def generate_launch_description() -> LaunchDescription:
    """The arguments, the guard and the policy."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "config", default_value="/etc/jetvla/jetvla.yaml", description="configuration of both daemons"
            ),
            DeclareLaunchArgument(
                "python", default_value=sys.executable, description="the Python in which jetvla is installed"
            ),
            _daemon("guard", on_exit=Shutdown(reason="the guard has ended")),
            _daemon("policy", respawn=True, respawn_delay=1.0),
        ]
    )


def _daemon(name: str, **options: object) -> ExecuteProcess:
    python, config = LaunchConfiguration("python"), LaunchConfiguration("config")
    return ExecuteProcess(
        cmd=[python, "-m", f"jetvla.services.{name}_daemon", "--config", config],
        name=f"jetvla_{name}",
        output="screen",
        sigterm_timeout=STOP_S,
        sigkill_timeout=STOP_S,
        **options,
    )
