"""What is no measurement ends with a reason, and soon."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.status import Status, write_status
from jetvla.services.profiling import measurement
from jetvla.services.supervisor import Daemons


class Hung:
    """Daemons that live, and say nothing."""

    def dead(self) -> None:
        return None


def test_a_guard_that_never_reports_is_not_waited_for_for_ever(
    configured: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "READY_S", 0.2)
    config = load_config(configured())
    with pytest.raises(JetvlaError, match=r"cannot be armed within 0\.2 s: it has reported nothing"):
        measurement._ready(config, cast(Daemons, Hung()), 0)


@pytest.mark.parametrize(
    ("written_s", "said"), [(60.0, "is of another start of the machine"), (-60.0, "is 60 s old")], ids=["later", "old"]
)
def test_a_report_that_is_not_of_now_is_no_running_guard(
    configured: Callable[..., Path], written_s: float, said: str
) -> None:
    path = configured()
    written_ns = time.monotonic_ns() + round(written_s * 1e9)
    status = Status(written_ns, 1, "ARMED", "", "", None, "", "", 0, 0, {}, {}, [])
    write_status(status, load_config(path).status)
    with pytest.raises(JetvlaError, match=f"{said}: the guard is not running"):
        measurement.profile_running(path, 1.0, None)


def running(path: Path, bundle: str) -> None:
    """A guard has reported; without rings a measurement cannot go on."""
    status = Status(time.monotonic_ns(), 1, "ARMED", "", bundle, None, "", "", 0, 0, {}, {}, [])
    write_status(status, load_config(path).status)


def test_another_bundle_than_the_one_that_runs_is_refused(configured: Callable[..., Path]) -> None:
    path = configured()
    running(path, "ab" * 32)
    with pytest.raises(JetvlaError, match=r"the guard runs the bundle abababababab, and .* is .* by now; restart"):
        measurement.profile_running(path, 1.0, None)


def test_beside_a_robot_only_the_manifest_is_read(configured: Callable[..., Path], place: Path) -> None:
    path = configured()
    running(path, Bundle.open(place / "bundle", None).digest)
    next((place / "bundle").rglob("*.onnx")).write_bytes(b"")
    with pytest.raises(JetvlaError, match="no spans can be read"):
        measurement.profile_running(path, 1.0, None)
