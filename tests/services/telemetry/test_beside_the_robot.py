"""``jetvla run`` with its metrics: real guard and policy are scraped, and the exporter's death is nothing to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from jetvla.runtime.config import load_config
from jetvla.runtime.telemetry.span_reader import SpanReader
from jetvla.runtime.telemetry.status import read_status

from .conftest import PATIENCE_S, Scrape, free_port, scrape, wait_for


def children_of(pid: int) -> dict[str, int]:
    """By the module that each runs."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        found[words[3].removeprefix("jetvla.services.")] = int(child)
    return found


def test_the_real_daemons_are_scraped_and_outlive_the_exporter(configured: Callable[..., Path], place: Path) -> None:
    (place / "pictures").mkdir()
    for index in range(10):
        noise = np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(place / "pictures" / f"{index}.png"), noise)
    port = free_port()
    path = configured(telemetry={"metrics": f"127.0.0.1:{port}"})
    config = load_config(path)
    with (place / "run.log").open("wb") as log:
        run = subprocess.Popen([sys.executable, "-m", "jetvla.services", "run", "--config", str(path)], stderr=log)
    try:

        def chunks() -> Scrape | None:
            found, counted = scrape(port), "jetvla_guard_chunks_total"
            return found if found and counted in found.names and found.value(counted) > 10 else None

        found: Scrape = wait_for(chunks, "chunks are counted")
        assert found.value("jetvla_guard_up") == found.value("jetvla_policy_up") == 1
        (bundle,) = found.labels("jetvla_bundle_info")
        assert (bundle["name"], bundle["version"]) == ("random-tiny", "1")
        assert found.value("jetvla_stage_duration_seconds_count", process="policy", stage="step") > 10
        assert found.value("jetvla_stage_duration_seconds_count", process="guard", stage="guard") > 10

        processes = children_of(run.pid)
        assert processes.keys() == {"guard_daemon", "policy_daemon", "metrics_daemon"}
        os.kill(processes["metrics_daemon"], signal.SIGKILL)
        wait_for(lambda: "metrics process ended" in (place / "run.log").read_text(), "its death is said")
        wait_for(lambda: scrape(port), "it is there again")
        after = children_of(run.pid)
        assert after["metrics_daemon"] != processes["metrics_daemon"]
        assert {**after, "metrics_daemon": 0} == {**processes, "metrics_daemon": 0}
        assert read_status(config.status).pid == processes["guard_daemon"]

        # Stopped, so that nothing is written any more: what is counted is what the ring holds.
        os.kill(processes["guard_daemon"], signal.SIGSTOP)
        held = [span.duration_ns for span in SpanReader(config.spans("guard")).read().spans if span.stage == "wake"]
        found = wait_for(lambda: scrape(port), "it serves beside a stopped guard")
        assert found.value("jetvla_stage_duration_seconds_count", stage="wake") == len(held)
        seconds = found.value("jetvla_stage_duration_seconds_sum", stage="wake")
        assert seconds == pytest.approx(sum(held) / 1e9, rel=1e-9)
        os.kill(processes["guard_daemon"], signal.SIGCONT)

        run.send_signal(signal.SIGINT)
        assert run.wait(PATIENCE_S) == 0
        assert scrape(port) is None
    finally:
        run.kill()
        run.wait()
    assert "Traceback" not in (place / "run.log").read_text()
