"""What the checks are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jetvla.runtime.config import Config
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.system import System


@dataclass(frozen=True)
class Patient:
    """A machine and the configuration that it is to run."""

    system: System
    config: Config


MachineCheck = Callable[[System], Iterator[Finding]]
Check = Callable[[Patient], Iterator[Finding]]
