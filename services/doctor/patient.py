"""What the checks are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.config import Config
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.system import System


@dataclass(frozen=True)
class Patient:
    """A machine and the configuration that it is to run.

    Attributes:
        path: the file that ``config`` was read from.
    """

    system: System
    config: Config
    path: Path


MachineCheck = Callable[[System], Iterator[Finding]]
Check = Callable[[Patient], Iterator[Finding]]
