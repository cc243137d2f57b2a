"""The configuration as ROS parameters, to be read and never to be written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node

from jetvla.runtime.config import Config

REFUSAL = "jetvla takes its configuration from jetvla.yaml alone: change it there and start the daemons again"
_SCALARS = (bool, int, float, str)


def mirror(config: Config, node: Node) -> None:
    """Declare every key of ``config`` on ``node``, and refuse every write from now on, ``use_sim_time`` too."""
    for key, value in flatten(config.model_dump(mode="json")):
        # One for each: rclpy writes the type into it.
        node.declare_parameter(key, value, ParameterDescriptor(read_only=True, description="from jetvla.yaml"))
    node.add_on_set_parameters_callback(lambda _: SetParametersResult(successful=False, reason=REFUSAL))


def flatten(value: Any, key: str = "") -> Iterator[tuple[str, bool | int | float | str | list[str]]]:
    """Dotted keys and values of a JSON value.

    Parameters know no null and no mixed lists, so these are JSON text; a list of mappings has its items by number.
    """
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from flatten(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        yield from flatten(dict(enumerate(value)), key)
    elif isinstance(value, _SCALARS) or _is_texts(value):
        yield key, value
    else:
        yield key, json.dumps(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
