"""Names of ROS 2 topics: https://design.ros2.org/articles/topic_and_service_names.html. Needs no ROS 2."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

GUARD_NODE = "jetvla_guard"
OFF = "none"

_TOKEN = "[A-Za-z_][A-Za-z0-9_]*"
PATTERN = rf"^(?!.*__)(/|~/)?{_TOKEN}(/{_TOKEN})*$"
_NAME = re.compile(PATTERN)


def _checked(name: str) -> str:
    if "\n" in name or not _NAME.match(name):
        raise ValueError(
            "is no name of a ROS 2 topic: names are of letters, digits and single _, none begins with a digit, and / "
            "is between them, as in /camera/image_raw, relative/name or ~/name"
        )
    return name


def _means_off(name: Any) -> bool:
    """What YAML makes of ``null``, ``~``, ``no`` and ``off`` too."""
    return name is None or name is False or (isinstance(name, str) and name.strip().casefold() in ("", OFF))


def _estop(name: Any) -> Any:
    if _means_off(name):
        raise ValueError(
            "the e-stop cannot be switched off; leave the key out (it is ~/estop then), or name the topic of its "
            "std_msgs/Bool"
        )
    return name


def _deadman(name: Any) -> Any:
    if name != OFF and _means_off(name):
        raise ValueError(f"write {OFF}, in small letters, for no deadman, or name the topic of its std_msgs/Bool")
    return name


Topic = Annotated[str, AfterValidator(_checked), Field(json_schema_extra={"pattern": PATTERN})]
EstopTopic = Annotated[Topic, BeforeValidator(_estop)]
DeadmanTopic = Annotated[Topic, BeforeValidator(_deadman)]


def resolved(topic: str, node: str, namespace: str = "") -> str:
    """The whole name of ``node``'s ``topic``."""
    space = f"/{namespace.strip('/')}".rstrip("/")
    if topic.startswith("~/"):
        return f"{space}/{node}{topic[1:]}"
    return topic if topic.startswith("/") else f"{space}/{topic}"
