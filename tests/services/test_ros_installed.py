"""rclpy alone, as apt's package of it is, is not enough; what is missing is named before anything is opened."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from jetvla.runtime.errors import MissingDependency
from jetvla.runtime.ros import installed
from jetvla.services.cli import main
from jetvla.services.guard_process import GuardProcess
from jetvla.services.policy_process import PolicyProcess


@pytest.fixture
def without_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ("std_srvs", "trajectory_msgs")
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name in gone else object())


@pytest.mark.usefixtures("without_messages")
def test_a_command_names_the_packages_and_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate"]) == 1
    said = capsys.readouterr().err
    assert "std_srvs, trajectory_msgs" in said
    assert "apt install ros-humble-ros-base (JetPack 6) or ros-jazzy-ros-base (JetPack 7)" in said


@pytest.mark.usefixtures("without_messages")
@pytest.mark.parametrize("daemon", [GuardProcess, PolicyProcess])
def test_the_daemons_ask_before_they_import_them(daemon: Any) -> None:
    process = daemon.__new__(daemon)
    with ExitStack() as resources, pytest.raises(MissingDependency, match="trajectory_msgs"):
        daemon._open_ros(*(process, resources)[: daemon._open_ros.__code__.co_argcount])
