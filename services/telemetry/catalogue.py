"""The metrics: one table, read by the exporter, by the document and by the tests of dashboard and alerts.

Names follow Prometheus: base units, ``_total`` for what only grows. What a machine does not tell has no value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as it is scraped.
        help: one sentence without its full stop.
        labels: names of its labels.
        buckets: upper bounds of a histogram, in its unit, without infinity.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """Names by which queries ask for it."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))


# From the guard's tenth of a millisecond to a large policy's second.
_STAGE_BUCKETS = (
    *(1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
_AGE_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0)

BUILD_INFO = Metric("jetvla_build_info", "gauge", "1; version is that of jetvla", ("version",))
BUNDLE_INFO = Metric(
    "jetvla_bundle_info",
    "gauge",
    "1; the bundle that the guard runs; name and version are empty if the configuration names another one by now",
    ("digest", "name", "version"),
)

GUARD_UP = Metric("jetvla_guard_up", "gauge", "1 if the guard's last report is at most 3 s old, else 0")
GUARD_REPORT_AGE = Metric("jetvla_guard_report_age_seconds", "gauge", "Age of the guard's last report")
GUARD_STATE = Metric("jetvla_guard_state", "gauge", "1 for the guard's state, 0 for the others", ("state",))
GUARD_SCHEDULING = Metric(
    "jetvla_guard_scheduling", "gauge", "1 for how the guard is scheduled, 0 for the other rungs", ("rung",)
)
GUARD_TICKS = Metric("jetvla_guard_ticks_total", "counter", "Ticks of the guard")
GUARD_CHUNKS = Metric("jetvla_guard_chunks_total", "counter", "Action chunks that the guard took in")
GUARD_CLIPS = Metric("jetvla_guard_clips_total", "counter", "Requests of the policy that the guard bounded")
GUARD_REJECTIONS = Metric("jetvla_guard_rejections_total", "counter", "Action chunks that the guard rejected")
GUARD_REFUSALS = Metric("jetvla_guard_refusals_total", "counter", "Refusals of arming or reset")
GUARD_FAULTS = Metric("jetvla_guard_faults_total", "counter", "Faults that began, by name", ("fault",))
INSTRUCTION_PRESENT = Metric("jetvla_instruction_present", "gauge", "1 while an instruction holds, else 0")

POLICY_UP = Metric("jetvla_policy_up", "gauge", "1 if the policy's process lives, else 0")

STAGE_DURATION = Metric(
    "jetvla_stage_duration_seconds",
    "histogram",
    "Every run of a stage, from the spans",
    ("process", "stage"),
    _STAGE_BUCKETS,
)
FRAME_TO_COMMAND = Metric(
    "jetvla_frame_to_command_age_seconds",
    "histogram",
    "Capture of a frame to the first command that obeys it",
    (),
    _AGE_BUCKETS,
)
SPANS_READABLE = Metric("jetvla_spans_readable", "gauge", "1 if the daemon's spans can be read, else 0", ("process",))
SPANS_LOST = Metric(
    "jetvla_spans_lost_total", "counter", "Spans that were overwritten before they were counted", ("process",)
)

PROCESS_START = Metric(
    "jetvla_process_start_time_seconds", "gauge", "When the daemon started, seconds since 1970", ("process",)
)
PROCESS_RESTARTS = Metric(
    "jetvla_process_restarts_total", "counter", "Starts of the daemon since the exporter first saw it", ("process",)
)
PROCESS_MEMORY = Metric(
    "jetvla_process_resident_memory_bytes", "gauge", "Memory of the process that is in RAM", ("process",)
)

AUDIT_LINES = Metric("jetvla_audit_lines_written_total", "counter", "Lines of the audit log")
AUDIT_LOST = Metric("jetvla_audit_events_lost_total", "counter", "Events that will never be in the audit log")
AUDIT_SUPPRESSED = Metric("jetvla_audit_events_suppressed_total", "counter", "Events above the rate of their kind")
AUDIT_WAITING = Metric("jetvla_audit_events_waiting", "gauge", "Events that are not in the audit log yet")
AUDIT_WRITABLE = Metric("jetvla_audit_writable", "gauge", "1 if the audit log can be written, else 0")

TEMPERATURE = Metric("jetvla_temperature_celsius", "gauge", "Temperature of a zone of the machine", ("zone",))
POWER = Metric("jetvla_power_watts", "gauge", "Power through a rail of the machine", ("rail",))
THROTTLED = Metric("jetvla_throttled", "gauge", "1 while the machine lowers a clock because of heat or power, else 0")
THROTTLING_EVENTS = Metric(
    "jetvla_throttling_events_total",
    "counter",
    "Throttling by the hardware since the machine was started",
    ("counter",),
)

METRICS: tuple[Metric, ...] = (
    *(BUILD_INFO, BUNDLE_INFO),
    *(GUARD_UP, GUARD_REPORT_AGE, GUARD_STATE, GUARD_SCHEDULING, GUARD_TICKS, GUARD_CHUNKS),
    *(GUARD_CLIPS, GUARD_REJECTIONS, GUARD_REFUSALS, GUARD_FAULTS, INSTRUCTION_PRESENT, POLICY_UP),
    *(STAGE_DURATION, FRAME_TO_COMMAND, SPANS_READABLE, SPANS_LOST),
    *(PROCESS_START, PROCESS_RESTARTS, PROCESS_MEMORY),
    *(AUDIT_LINES, AUDIT_LOST, AUDIT_SUPPRESSED, AUDIT_WAITING, AUDIT_WRITABLE),
    *(TEMPERATURE, POWER, THROTTLED, THROTTLING_EVENTS),
)
