"""What ``/diagnostics`` says of jetvla, by REP 107: one status a component, ``node: component``."""

from __future__ import annotations

from collections.abc import Iterable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from jetvla.runtime.telemetry.diagnosis import Diagnosis


class Diagnostics:
    """Publishes diagnoses of ``node``; the hardware is the bundle that it runs."""

    def __init__(self, node: Node, bundle: str) -> None:
        self._node, self._bundle = node, bundle
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)

    def publish(self, diagnoses: Iterable[Diagnosis]) -> None:
        message = DiagnosticArray(status=[self._status(d) for d in diagnoses])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _status(self, diagnosis: Diagnosis) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=bytes([diagnosis.level]),
            name=f"{self._node.get_name()}: {diagnosis.component}",
            message=diagnosis.message,
            hardware_id=self._bundle[:12],
            values=[KeyValue(key=key, value=str(value)) for key, value in diagnosis.values.items()],
        )
