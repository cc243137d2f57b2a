"""What an operator does to running daemons over ROS 2: arm, disarm, reset, say."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.runtime.config import DEFAULT_CONFIG as DEFAULT_CONFIG
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import ArmingError, ConfigError, JetvlaError
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.ros_names import GUARD_NODE

if TYPE_CHECKING:
    from rclpy.publisher import Publisher
    from std_srvs.srv import Trigger

_ARM_EVERY_S = 0.25
_ACKNOWLEDGED_EVERY_S = 0.005


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """``--config``, the same for every command that talks to the daemons."""
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        help="configuration of the daemons (default: %(default)s)",
    )


def add_guard_options(parser: argparse.ArgumentParser) -> None:
    """``--config`` and ``--timeout``, the same for every command that asks the guard for something."""
    add_config_option(parser)
    parser.add_argument(
        "--timeout", type=float, default=10.0, help="seconds to wait for the guard (default: %(default)s)"
    )


class OperatorConsole:
    """Talks to the guard that runs with ``config``.

    Raises:
        ConfigError: if that guard has nothing to do with ROS 2.
    """

    def __init__(self, config: Config) -> None:
        if not config.uses_ros:
            raise ConfigError(
                "guard.outputs: with outputs of kind log alone, and no camera, state, deadman or feedback on ROS 2, "
                "the guard has no ROS node, and nobody can arm it or speak to it; add an output of another kind"
            )
        self._config = config
        self._session = RosSession(f"jetvla_operator_{os.getpid()}", config.ros.namespace, config.ros.domain_id)
        self._speaker: Publisher | None = None

    @classmethod
    def of(cls, path: Path) -> OperatorConsole:
        return cls(load_config(path))

    def call(self, service: str, timeout_s: float) -> str:
        """Call ``arm``, ``disarm`` or ``reset``; return the guard's answer.

        Raises:
            ArmingError: if the guard refuses, with its reasons.
            JetvlaError: if no guard answers in time.
        """
        from std_srvs.srv import Trigger

        name = f"{self._session.node.get_namespace().rstrip('/')}/{GUARD_NODE}/{service}"
        client = self._session.node.create_client(Trigger, name)
        if not client.wait_for_service(timeout_sec=timeout_s):
            raise JetvlaError(
                f"no guard offers {name} within {timeout_s:g} s; is it running (jetvla status), "
                "and on the same ROS domain?"
            )
        future = client.call_async(Trigger.Request())
        deadline = time.monotonic() + timeout_s
        while not future.done() and time.monotonic() < deadline:
            self._session.spin_once(0.1)
        response: Trigger.Response | None = future.result() if future.done() else None
        if response is None:
            raise JetvlaError(f"the guard did not answer {name} within {timeout_s:g} s; is it overloaded?")
        if not response.success:
            raise ArmingError(f"the guard refuses to {service}: {response.message}")
        return str(response.message)

    def arm(self, patience_s: float, timeout_s: float) -> str:
        """Arm as soon as the guard agrees.

        Raises:
            ArmingError: if it still refuses after ``patience_s``, with its last reasons.
        """
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return self.call("arm", timeout_s)
            except ArmingError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_ARM_EVERY_S)

    def say(self, text: str, timeout_s: float) -> int:
        """Publish an instruction once policy and guard listen; return how many listen.

        Raises:
            JetvlaError: if fewer than two listen in time.
        """
        from std_msgs.msg import String

        from jetvla.runtime.ros.policy_node import POLICY_NODE

        topic = self._config.instruction.topic
        if self._speaker is None:
            self._speaker = self._session.node.create_publisher(String, topic, 10)
        publisher = self._speaker
        deadline = time.monotonic() + timeout_s
        while (missing := {GUARD_NODE, POLICY_NODE} - self._listeners(publisher.topic_name)) or (
            publisher.get_subscription_count() < 2
        ):
            if time.monotonic() > deadline:
                raise JetvlaError(
                    f"{' and '.join(sorted(missing)) or 'the daemons'} do not listen to {topic} "
                    f"within {timeout_s:g} s; are they running (jetvla status), and on the same ROS domain?"
                )
            self._session.spin_once(0.05)
        publisher.publish(String(data=text))
        return int(publisher.get_subscription_count())

    def delivered(self, timeout_s: float) -> None:
        """Wait until every listener has acknowledged what was said; DDS may take seconds to say so.

        Raises:
            JetvlaError: if one has not in time.
        """
        from rclpy.duration import Duration

        deadline = time.monotonic() + timeout_s
        # Asked in short turns: rclpy holds the interpreter lock for as long as it waits here.
        while self._speaker is not None and not self._speaker.wait_for_all_acked(Duration(nanoseconds=0)):
            if time.monotonic() > deadline:
                raise JetvlaError(f"not every listener acknowledged within {timeout_s:g} s; say it again")
            time.sleep(_ACKNOWLEDGED_EVERY_S)

    def _listeners(self, topic: str) -> set[str]:
        return {info.node_name for info in self._session.node.get_subscriptions_info_by_topic(topic)}

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> OperatorConsole:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask_guard(service: str, arguments: argparse.Namespace) -> int:
    """The command that calls ``service`` and prints the answer; errors as of :meth:`OperatorConsole.call`."""
    with OperatorConsole.of(arguments.config) as console:
        print(console.call(service, arguments.timeout))
    return 0
