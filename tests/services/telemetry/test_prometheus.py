"""The real Prometheus: it scrapes the exporter, takes the alerts, and answers every query of the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

import jetvla.services.telemetry
from jetvla.services.telemetry.catalogue import METRICS

from .conftest import PATIENCE_S, Exporter, Robot, free_port, wait_for
from .promql import metrics_of

ROOM = Path(next(iter(jetvla.services.telemetry.__path__)))
ALERTS = ROOM / "prometheus" / "alerts.yml"
DASHBOARD = ROOM / "grafana" / "jetvla.json"
KNOWN = {name for metric in METRICS for name in metric.series}
# What Prometheus itself makes of every target.
OF_PROMETHEUS = {"up"}

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="needs Prometheus: apt-get install prometheus",
)


def alerts() -> dict[str, str]:
    """Expressions by name."""
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def queries() -> list[tuple[str, str]]:
    """Title of the panel and expression, with Grafana's variables filled in."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    filled = {"$__rate_interval": "1m", "$instance": "robot"}
    return [(title, re.sub(r"\$\w+", lambda name: filled[name[0]], expression)) for title, expression in found]


EXPRESSIONS = [*alerts().items(), *queries()]


def test_the_metrics_of_an_expression_are_found() -> None:
    expression = 'sum by (le) (rate(a_total{x="b{c}", y=~"d"}[5m])) / on (job) group_left e_seconds > 1e-3 and f == 2'
    assert metrics_of(expression) == {"a_total", "e_seconds", "f"}


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_alerts_and_dashboard_ask_for_metrics_that_exist(where: str, expression: str) -> None:
    asked = metrics_of(expression)
    assert asked
    assert asked <= KNOWN | OF_PROMETHEUS, where


def test_the_dashboard_shows_every_metric() -> None:
    shown = set().union(*(metrics_of(expression) for _, expression in queries()))
    # These say how far the others can be trusted, and are alerts.
    unseen = {"jetvla_build_info", "jetvla_guard_report_age_seconds", "jetvla_spans_readable", "jetvla_audit_writable"}
    assert {m.name for m in METRICS if not shown & {*m.series}} == unseen


def test_the_dashboard_can_be_imported() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels))) - {"__rate_interval"}
    assert used == variables
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


@needs_prometheus
def test_the_alerts_are_right_and_fire_when_they_should(tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path)
    cases = shutil.copy(Path(__file__).with_name("alerts_test.yml"), tmp_path)
    for words in (["check", "rules", ALERTS.name], ["test", "rules", cases]):
        done = subprocess.run(["promtool", *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    exercised = Path(cases).read_text()
    assert [name for name in alerts() if name not in exercised] == []


class Prometheus:
    """A server on a free port of this machine, which scrapes ``robot`` and has its alerts."""

    def __init__(self, robot: Robot, folder: Path) -> None:
        folder.mkdir()
        self._port, self._log = free_port(), folder / "log"
        settings = {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS.resolve())],
            "scrape_configs": [
                {
                    "job_name": "jetvla",
                    "static_configs": [{"targets": [f"127.0.0.1:{robot.port}"], "labels": {"instance": "robot"}}],
                }
            ],
        }
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(settings))
        options = {
            "config.file": config,
            "storage.tsdb.path": folder / "data",
            "web.listen-address": f"127.0.0.1:{self._port}",
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", *(f"--{name}={value}" for name, value in options.items())], stdout=log, stderr=log
            )

    def ask(self, what: str, **parameters: str) -> Any:
        """The answer of its HTTP API; None while there is none."""
        assert self.process.poll() is None, self._log.read_text()
        address = f"http://127.0.0.1:{self._port}/api/v1/{what}?{urlencode(parameters)}"
        try:
            with urlopen(address, timeout=PATIENCE_S) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            if error.code == 503:  # it is starting
                return None
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        except (URLError, ConnectionError):
            return None

    def value(self, expression: str) -> float | None:
        """Of a query whose answer is one number; None while it is empty."""
        answer = self.ask("query", query=expression)
        if not answer or not answer["result"]:
            return None
        (sample,) = answer["result"]
        return float(sample["value"][1])

    def becomes(self, expression: str, expected: object) -> None:
        """Wait until a query has this answer: a scrape on a busy machine may come late, or fail."""
        wait_for(lambda: self.value(expression) == expected, f"{expression} becomes {expected}")


@pytest.fixture
def prometheus(robot: Robot, tmp_path: Path) -> Iterator[Prometheus]:
    server = Prometheus(robot, tmp_path / "prometheus")
    yield server
    server.process.terminate()
    server.process.wait()


@needs_prometheus
def test_prometheus_scrapes_what_the_rings_hold(
    robot: Robot, export: Callable[[], Exporter], prometheus: Prometheus
) -> None:
    guard, policy = robot.ring("guard"), robot.ring("policy")
    durations = [1_000 * (n + 1) for n in range(500)]
    for ns in durations:
        guard.add("wake", 0, ns)
    for ns in (18_000_000, 22_000_000, 320_000_000):
        policy.add("step", 0, ns, 1)
        guard.add("age", 0, ns, 1)
    robot.report()
    export()
    wake = 'job="jetvla", process="guard", stage="wake"'
    becomes = prometheus.becomes
    becomes("up", 1)
    becomes(f"jetvla_stage_duration_seconds_count{{{wake}}}", len(durations))
    becomes(f"jetvla_stage_duration_seconds_sum{{{wake}}}", pytest.approx(sum(durations) / 1e9, rel=1e-12))
    becomes(f"jetvla_stage_duration_seconds_bucket{{{wake}, le='0.0001'}}", sum(ns <= 100_000 for ns in durations))
    becomes("jetvla_frame_to_command_age_seconds_bucket{le='0.3'}", 2)
    becomes("jetvla_frame_to_command_age_seconds_count", 3)
    becomes("jetvla_process_resident_memory_bytes{process='metrics'} > bool 1e6", 1)

    # A guard that falls silent is down, with nothing old beside it; what the rings tell goes on.
    becomes("jetvla_guard_up", 0)
    becomes("jetvla_guard_ticks_total", None)
    guard.add("wake", 0, 1000)
    becomes(f"jetvla_stage_duration_seconds_count{{{wake}}}", len(durations) + 1)
    becomes("jetvla_stage_duration_seconds_count{process='policy', stage='step'}", 3)

    rules = prometheus.ask("rules")["groups"][0]["rules"]
    assert {rule["name"] for rule in rules} == set(alerts())
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []
    for _, expression in EXPRESSIONS:
        assert prometheus.ask("query", query=expression) is not None


@needs_prometheus
def test_names_follow_prometheus_conventions(robot: Robot, export: Callable[[], Exporter]) -> None:
    robot.ring("guard").add("wake", 0, 1000)
    robot.ring("policy").add("step", 0, 1000)
    robot.report()
    export()

    def page() -> bytes | None:
        with suppress(URLError, ConnectionError), urlopen(f"http://127.0.0.1:{robot.port}/metrics") as answer:
            text: bytes = answer.read()
            return text
        return None

    done = subprocess.run(
        ["promtool", "check", "metrics"], input=wait_for(page, "it serves"), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
