"""Section ``telemetry`` of ``jetvla.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from jetvla.runtime.robot_config import Section
from jetvla.runtime.telemetry.address import Address

DEFAULT_METRICS = "127.0.0.1:9464"


def _an_address(text: str) -> str:
    Address.parse(text)
    return text


class TelemetryConfig(Section):
    """``audit`` is the folder of the audit log, ``/var/log/jetvla`` on the appliance; null keeps none. ``metrics`` is
    where Prometheus finds the metrics; null serves none.
    """

    audit: Path | None = None
    metrics: Annotated[str, AfterValidator(_an_address)] | None = DEFAULT_METRICS

    @property
    def metrics_address(self) -> Address | None:
        return None if self.metrics is None else Address.parse(self.metrics)
