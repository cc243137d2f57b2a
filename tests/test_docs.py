"""What the documents say is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.config import load_config
from jetvla.runtime.guard.faults import FAULTS
from jetvla.runtime.guard.limits import Limits, RateLimit
from jetvla.services.cli import COMMANDS
from jetvla.services.profiling.budget import load_budget

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("engines/zoo/*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_and_commands_exist(path: Path) -> None:
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
    for command in re.findall(r"jetvla ([a-z]+)", " ".join(re.findall(r"`(jetvla [^`]*)`", text))):
        assert command in COMMANDS, f"{path.name} names 'jetvla {command}'"
    for target in re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"make {target}"


def test_the_safety_manual_names_every_fault_and_the_limits_in_force() -> None:
    text = (ROOT / "docs/SAFETY.md").read_text()
    assert [name for name in FAULTS if f"`{name}`" not in text] == []
    for name, limit, _, _ in Limits().table():
        if isinstance(limit, RateLimit):
            row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
            numbers = [float(cell.split()[0]) for cell in row.split("|")[2:6]]
            assert numbers == [limit.velocity, limit.acceleration, limit.deceleration, limit.jerk]


def test_the_examples_of_configuration_and_checkpoint_are_right(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "jetvla.yaml").write_text(example)
    assert load_config(tmp_path / "jetvla.yaml").limits.linear.velocity == 0.1
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/CHECKPOINTS.md").read_text(), re.DOTALL)
    assert len(ActionSpec.model_validate(yaml.safe_load(example)["action"])) == 2


def test_the_example_of_a_budget_is_right(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(# budget\.yaml.*?)```", (ROOT / "docs/PROFILING.md").read_text(), re.DOTALL)
    (tmp_path / "budget.yaml").write_text(example)
    assert load_budget(tmp_path / "budget.yaml").deadlines_ns() == {"age": 200_000_000, "wake": 5_000_000}
