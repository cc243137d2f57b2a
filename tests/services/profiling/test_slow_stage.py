"""A stage that is made 20 ms slower in the real daemons is named, by its budget and by a comparison.

Nothing here knows how fast the machine is: limits come from a run just before, and medians alone are judged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jetvla.runtime.bundle import MANIFEST, SIGNATURE
from jetvla.runtime.keys import create_key_pair, load_private_key, sign
from jetvla.runtime.telemetry.stages import STAGE_NAMES
from jetvla.services.profiling.comparison import MIN_SAMPLES, WHOLE_WAY, compare
from jetvla.services.profiling.record import Profile, read_profile

SLOW = Path(__file__).parent / "slow"
DELAY_MS = 20.0
STAGES = [name for name in STAGE_NAMES if name != WHOLE_WAY]
# A comparison takes ten blocks of a second or more, where a budget takes a moment.
COMPARED = ("capture", "step", "link", "guard")
BRIEF_S, LONG_S, LONGER_S = 3, 20, (12, 48)
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
        self, name: str, *options: object, seconds: int, slow: str = ""
    ) -> tuple[subprocess.CompletedProcess[str], Profile]:
        """Profile with ``slow`` made slower; what the command said, and the profile.

        On a machine that others keep busy it takes longer until there are enough frames to judge by.
        """
        for longer in (seconds, *(s for s in LONGER_S if s > seconds)):
            done, profile = self._run(longer, name, *options, slow=slow)
            if WHOLE_WAY in profile.stages and profile.stages[WHOLE_WAY].count >= MIN_SAMPLES:
                break
        return done, profile

    def _run(
        self, seconds: int, name: str, *options: object, slow: str
    ) -> tuple[subprocess.CompletedProcess[str], Profile]:
        figures = self.place / f"{name}.json"
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
    done, profile = profiler.run("usual", seconds=LONG_S)
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
def test_a_planted_delay_is_named(profiler: Profiler, usual: Profile, budget: Path, stage: str) -> None:
    seconds = LONG_S if stage in COMPARED else BRIEF_S
    done, slowed = profiler.run(stage, "--budget", budget, seconds=seconds, slow=stage)
    assert done.returncode == 1, done.stderr
    over = [line for line in done.stdout.splitlines() if line.startswith("over budget: ")]
    assert over[0].startswith(f"over budget: {stage} p50 is "), over
    assert slowed.exceeded[0].stage == stage
    if stage not in COMPARED:
        return
    comparison = compare(usual, slowed)
    # Where the guard stops the robot because of the delay, hardly any frame is obeyed, and the age is what vanishes.
    assert comparison.outcome == ("not judged" if comparison.vanished else "slower")
    assert stage in comparison.slower
    assert comparison.most_changed is not None
    assert comparison.most_changed.stage == stage
