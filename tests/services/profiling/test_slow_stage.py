"""A stage that is made 20 ms slower in the real daemons is named, by its budget and by a comparison.

Nothing here knows how fast the machine is: limits come from a run just before, and medians alone are judged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from jetvla.runtime.bundle import MANIFEST, SIGNATURE
from jetvla.runtime.keys import create_key_pair, load_private_key, sign
from jetvla.runtime.telemetry.stages import STAGE_NAMES
from jetvla.services.cli import main
from jetvla.services.commands.compare import STATUS
from jetvla.services.profiling.comparison import WHOLE_WAY, compare
from jetvla.services.profiling.record import Profile, read_profile

SLOW = Path(__file__).parent / "slow"
DELAY_MS = 20.0
STAGES = [name for name in STAGE_NAMES if name != WHOLE_WAY]
# A comparison takes ten blocks of a second, and more where neighbouring samples are alike.
SECONDS = (16, 32, 64)
# Only for a test that would otherwise hang.
PATIENCE_S = 300.0


class Profiler:
    """The command, on a signed copy of the tiny bundle."""

    def __init__(self, place: Path, bundle: Path) -> None:
        self.place = place
        shutil.copytree(bundle, place / "bundle")
        key, _ = create_key_pair("test", place / "keys")
        signature = sign((place / "bundle" / MANIFEST).read_bytes(), load_private_key(key))
        (place / "bundle" / SIGNATURE).write_bytes(signature)

    def run(
        self, name: str, enough: Callable[[Profile], bool], *options: object, slow: str = ""
    ) -> tuple[subprocess.CompletedProcess[str], Profile]:
        """Profile with ``slow`` made slower, for longer until it is enough; what the command said, and the profile."""
        for seconds in SECONDS:
            done, profile = self._run(seconds, name, *options, slow=slow)
            if enough(profile):
                break
        return done, profile

    def figures(self, name: str) -> Path:
        return self.place / f"{name}.json"

    def _run(
        self, seconds: int, name: str, *options: object, slow: str
    ) -> tuple[subprocess.CompletedProcess[str], Profile]:
        figures = self.figures(name)
        words: list[object] = ["profile", self.place / "bundle", "--trusted", self.place / "keys", "--json", figures]
        words += ["--seconds", seconds]
        path = os.pathsep.join(filter(None, [str(SLOW), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-m", "jetvla.services", *map(str, (*words, *options))],
            env=os.environ | {"PYTHONPATH": path, "JETVLA_TEST_SLOW": slow, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert figures.exists(), done.stderr
        return done, read_profile(figures)


@pytest.fixture(scope="module")
def profiler(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Profiler:
    return Profiler(tmp_path_factory.mktemp("profiled"), tiny_bundle)


@pytest.fixture(scope="module")
def usual(profiler: Profiler) -> Profile:
    done, profile = profiler.run("usual", lambda profile: not compare(profile, profile).unjudged)
    assert done.returncode == 0, done.stderr
    return profile


@pytest.fixture(scope="module")
def budget(profiler: Profiler, usual: Profile) -> Path:
    """Half of the delay above the usual median of every stage."""
    path = profiler.place / "budget.yaml"
    limits = {name: {"p50_ms": usual.stages[name].p50 + DELAY_MS / 2} for name in STAGES}
    # A guard whose ticks take 30 ms stops the robot, and so does one on a busy machine.
    path.write_text(yaml.safe_dump({**limits, "stops": 10**6}))
    return path


def test_every_stage_of_the_table_is_measured(usual: Profile) -> None:
    assert tuple(usual.stages) == STAGE_NAMES
    assert {m.process for m in usual.memory} == {"policy", "guard"}
    assert all(m.peak_mb is not None and m.peak_mb > 10 for m in usual.memory)
    assert usual.engine is not None
    assert usual.engine_key is not None
    assert usual.engine.resident_mb > 0
    moments = [m.name for m in usual.cold_start]
    # A policy whose step takes a millisecond has made a chunk before the guard's next tick has seen its HELLO.
    for ready in ("first HELLO", "first chunk"):
        assert moments.index("policy: bundle verified") < moments.index(ready) < moments.index("armed")
    assert moments.index("guard: manifest verified") < moments.index("first HELLO")
    assert moments[-1] == "first command that obeys a frame"
    assert [m.ms for m in usual.cold_start] == sorted(m.ms for m in usual.cold_start)


@pytest.mark.parametrize("stage", STAGES)
def test_a_planted_delay_is_named(
    profiler: Profiler, usual: Profile, budget: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def enough(profile: Profile) -> bool:
        return stage not in compare(usual, profile).unjudged

    done, slowed = profiler.run(stage, enough, "--budget", budget, slow=stage)
    assert done.returncode == 1, done.stderr
    over = [line for line in done.stdout.splitlines() if line.startswith("over budget: ")]
    assert over[0].startswith(f"over budget: {stage} p50 is "), over
    assert slowed.exceeded[0].stage == stage
    # Where the guard stops the robot because of the delay, hardly any frame is obeyed, and its age is not judged.
    outcome = compare(usual, slowed).outcome
    assert outcome != "not slower"
    assert main(["compare", str(profiler.figures("usual")), str(profiler.figures(stage))]) == STATUS[outcome]
    said = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{stage}: slower") for line in said), said
    assert any(line.startswith(f"changed most: {stage}, slower by ") for line in said), said
