"""The launch file, with stand-ins for ROS 2's ``launch``, which is in no wheel: what it would start, and how."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jetvla import services

FILE = Path(services.__path__[0]) / "launch" / "jetvla.launch.py"


@dataclass
class Action:
    """Keeps what it was made of, and refuses keywords that the real one does not have."""

    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def action(name: str, *known: str) -> type:
    def make(self: Action, *arguments: Any, **options: Any) -> None:
        assert set(options) <= set(known), f"{name} has no {set(options) - set(known)}"
        self.arguments, self.options = arguments, options

    return type(name, (Action,), {"__init__": make})


# Keywords of launch 1.0 (Humble) that are used here; later versions have them too.
EXECUTE = ("cmd", "name", "output", "sigterm_timeout", "sigkill_timeout", "respawn", "respawn_delay", "on_exit")
STAND_INS = {
    "launch": {"LaunchDescription": action("LaunchDescription")},
    "launch.actions": {
        "DeclareLaunchArgument": action("DeclareLaunchArgument", "default_value", "description"),
        "ExecuteProcess": action("ExecuteProcess", *EXECUTE),
        "Shutdown": action("Shutdown", "reason"),
    },
    "launch.substitutions": {"LaunchConfiguration": action("LaunchConfiguration")},
}


@pytest.fixture
def entities(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    for name, contents in STAND_INS.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    namespace: dict[str, Any] = {}
    exec(compile(FILE.read_text(encoding="utf-8"), str(FILE), "exec"), namespace)
    entities: list[Any] = namespace["generate_launch_description"]().arguments[0]
    return entities


def command(process: Any, **values: str) -> list[str]:
    return [values[part.arguments[0]] if isinstance(part, Action) else part for part in process.options["cmd"]]


def test_it_starts_the_guard_and_then_the_policy_with_one_configuration(entities: list[Any], tmp_path: Path) -> None:
    declared = {e.arguments[0]: e.options["default_value"] for e in entities[:2]}
    assert declared == {"config": "/etc/jetvla/jetvla.yaml", "python": sys.executable}
    gone = tmp_path / "gone.yaml"
    for process, name in zip(entities[2:], ("guard", "policy"), strict=True):
        run = subprocess.run(
            command(process, python=sys.executable, config=str(gone)), capture_output=True, text=True, check=False
        )
        assert run.returncode == 1
        assert re.search(rf"^{name}: .*gone\.yaml", run.stderr, re.MULTILINE), run.stderr


def test_the_end_of_the_guard_ends_all_and_the_policy_comes_back(entities: list[Any]) -> None:
    guard, policy = entities[2:]
    assert type(guard.options["on_exit"]).__name__ == "Shutdown"
    assert "respawn" not in guard.options
    assert policy.options["respawn"] is True
    assert all(float(p.options[f"sig{s}_timeout"]) > 3 for p in (guard, policy) for s in ("term", "kill"))
