"""The environment that every measurement is stored with, and whether two of them can be compared."""

from __future__ import annotations

from jetvla.runtime.telemetry.environment.comparison import Difference, differences
from jetvla.runtime.telemetry.environment.reading import read_environment
from jetvla.runtime.telemetry.environment.record import Clocks, Environment, Missing

__all__ = ["Clocks", "Difference", "Environment", "Missing", "differences", "read_environment"]
