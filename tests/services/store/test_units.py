"""How guard and policy are stopped, started and counted."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace

import pytest

from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.status import Status
from jetvla.services.store.units import Systemd, Unmanaged

STATUS = Status(0, 7, "DISARMED", "", "ab", None, "", "", 0, 0, {}, {}, [], connections=1)


class Systemctl:
    """Answers by verb, as ``(status, output)``; what is active is as after a stop."""

    def __init__(self, **answers: tuple[int, str]) -> None:
        self._answers = {"is-active": (3, "")} | {k.replace("_", "-"): v for k, v in answers.items()}
        self.calls: list[list[str]] = []

    def __call__(self, command: Sequence[str], timeout_s: float | None) -> subprocess.CompletedProcess[str]:
        self.calls.append(list(command[1:]))
        status, text = self._answers.get(command[1], (0, ""))
        return subprocess.CompletedProcess(list(command), status, text, text)


def test_the_guard_is_stopped_first_and_waited_for() -> None:
    systemctl = Systemctl()
    Systemd(systemctl).stop()
    assert systemctl.calls == [
        ["stop", "jetvla-guard.service"],
        ["is-active", "--quiet", "jetvla-guard.service"],
        ["stop", "jetvla-policy.service"],
        ["is-active", "--quiet", "jetvla-policy.service"],
    ]


def test_a_guard_that_still_runs_is_an_error() -> None:
    systemctl = Systemctl(is_active=(0, ""))
    with pytest.raises(JetvlaError, match=r"jetvla-guard\.service was stopped and still runs"):
        Systemd(systemctl).stop()
    assert ["stop", "jetvla-policy.service"] not in systemctl.calls


def test_what_systemctl_says_is_passed_on() -> None:
    with pytest.raises(JetvlaError, match=r"systemctl stop jetvla-guard\.service failed: Access denied"):
        Systemd(Systemctl(stop=(1, "Access denied\n"))).stop()


def test_starting_waits_for_no_engine_and_forgives_former_failures() -> None:
    systemctl = Systemctl(reset_failed=(1, "not loaded"))
    Systemd(systemctl).start()
    assert [call[0] for call in systemctl.calls] == ["reset-failed", "start"]
    assert "--no-block" in systemctl.calls[1]


def test_restarts_are_those_of_both() -> None:
    assert Systemd(Systemctl(show=(0, "2\n\n3\n"))).restarts() == 5


def test_without_systemctl_it_is_named() -> None:
    systemd = Systemd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nonexistent")
        with pytest.raises(JetvlaError, match=r"systemctl show .* failed: .*No such file"):
            systemd.restarts()


def test_without_a_manager_processes_and_connections_are_counted() -> None:
    reports = [
        None,
        STATUS,
        STATUS,
        replace(STATUS, connections=3),
        None,
        replace(STATUS, pid=8, connections=0),
        replace(STATUS, pid=8, connections=1),
        replace(STATUS, pid=8, connections=2),
    ]
    left = iter(reports)
    units = Unmanaged(lambda: next(left))
    assert [units.restarts() for _ in reports] == [0, 0, 0, 2, 2, 3, 3, 4]


@pytest.mark.parametrize(
    ("state", "restarts", "given_up"),
    [("failed", 8, True), ("failed", 0, False), ("inactive", 8, False), ("active", 3, False)],
)
def test_what_systemd_gave_up_on_is_told_from_what_somebody_stopped(state: str, restarts: int, given_up: bool) -> None:
    systemctl = Systemctl(show=(0, f"NRestarts={restarts}\nActiveState={state}\n"))
    assert Systemd(systemctl).given_up() is given_up
    assert Systemd(systemctl).stopped() is (state == "inactive")
    assert not Unmanaged(lambda: None).given_up()
    assert not Unmanaged(lambda: None).stopped()
