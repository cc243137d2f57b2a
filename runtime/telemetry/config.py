"""Section ``telemetry`` of ``jetvla.yaml``."""

from __future__ import annotations

from pathlib import Path

from jetvla.runtime.robot_config import Section


class TelemetryConfig(Section):
    """``audit`` is the folder of the audit log, ``/var/log/jetvla`` on the appliance; null keeps none."""

    audit: Path | None = None
