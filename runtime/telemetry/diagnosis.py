"""How a component is, in the terms of ROS 2's diagnostics (REP 107)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Level(IntEnum):
    """The numbers of diagnostic_msgs/DiagnosticStatus; ``STALE`` is for what has not been heard of for too long."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """State of one component; ``values`` are details for people."""

    component: str
    level: Level
    message: str
    values: Mapping[str, object] = field(default_factory=dict)
