"""The values of one scrape."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import Metric as Family

from jetvla.services.telemetry.catalogue import METRICS, Metric
from jetvla.services.telemetry.totals import StageTotal

_FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}


class Page:
    """Takes values of the metrics in the table; KeyError for any other."""

    def __init__(self) -> None:
        self._families = {m: _FAMILIES[m.kind](m.name, f"{m.help}.", labels=m.labels) for m in METRICS}

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """The value of a counter or gauge."""
        self._families[metric].add_metric(labels, value)

    def choose(self, metric: Metric, chosen: str, of: Iterable[str]) -> None:
        """1 for the chosen label, 0 for the others."""
        for label in of:
            self.set(metric, float(label == chosen), label)

    def histogram(self, metric: Metric, total: StageTotal, *labels: str) -> None:
        """The value of a histogram."""
        self._families[metric].add_metric(labels, total.buckets, total.sum_s)

    def families(self) -> list[Family]:
        """Those that have a value."""
        return [family for family in self._families.values() if family.samples]
