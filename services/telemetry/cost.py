"""What telemetry costs a robot: ``python -m jetvla.services.telemetry.cost BUNDLE``.

The records of one frame (spans and histograms, as both daemons make them) against one step of the bundle's engine on
this machine, taken in turns. A step waits for the policy's own records; the guard's are made in another process.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.bench.turns import ACCEPTED, Way, measure
from jetvla.engines.observations import random_observations
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import NS_PER_S, MonotonicClock
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.contracts import ActionChunk, Command, Verdict
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import TickResult
from jetvla.runtime.guard.pacer import Wake
from jetvla.runtime.link.protocol import ChunkMessage, Health, StageTimes
from jetvla.runtime.policy.loop import Turn
from jetvla.runtime.policy.model import open_model
from jetvla.runtime.policy.turn_spans import TurnSpans
from jetvla.runtime.preprocess import resize
from jetvla.runtime.telemetry.spans import SpanRing
from jetvla.services.guard_report import GuardReport

TICKS_HZ, CAMERA_HZ = 100.0, 30.0
# So many frames' records make one sample, which is then as long as a step is.
_FRAMES = 500
_US = 1e6


@dataclass(frozen=True)
class Cost:
    """Medians. ``policy_share`` and ``share`` are parts of one step.

    Attributes:
        step_us: one step, resizing included, microseconds.
        policy_us: records of one frame in the policy.
        guard_us: records of one frame in the guard, with its ``ticks`` until the next one.
        accepted: samples of each; fewer than 20 are too few.
        dropped: samples during which other processes used the CPU.
    """

    bundle: str
    step_us: float
    policy_us: float
    guard_us: float
    ticks: int
    accepted: int
    dropped: int

    @property
    def policy_share(self) -> float:
        return self.policy_us / self.step_us

    @property
    def share(self) -> float:
        return (self.policy_us + self.guard_us) / self.step_us


def cost(bundle: Bundle, config: PolicyConfig, accepted: int = ACCEPTED) -> Cost:
    """Measure on this machine; EngineError if the bundle cannot run here."""
    with tempfile.TemporaryDirectory(prefix="jetvla-cost-") as folder:
        step = _step(bundle, config)
        (alone,) = measure([step], 3)
        seconds = max(1 / CAMERA_HZ, min(alone.accepted, default=0.0))
        ticks = math.ceil(TICKS_HZ * seconds)
        with (
            closing(SpanRing(Path(folder) / "policy.spans", 0)) as policy,
            closing(SpanRing(Path(folder) / "guard.spans", 0)) as guard,
        ):
            ways = (step, _policy(policy), _guard(guard, ticks))
            tallies = measure(ways, accepted)
    step_us, policy_us, guard_us = (_US * float(np.median(t.accepted or [math.nan])) for t in tallies)
    return Cost(
        bundle=bundle.manifest.name,
        step_us=step_us,
        policy_us=policy_us / _FRAMES,
        guard_us=guard_us / _FRAMES,
        ticks=ticks,
        accepted=min(len(t.accepted) for t in tallies),
        dropped=sum(t.dropped for t in tallies),
    )


def _step(bundle: Bundle, config: PolicyConfig) -> Way:
    manifest = bundle.manifest
    model = open_model(bundle, config, MonotonicClock())
    sample = random_observations(manifest).held_out[0]

    def act(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = {
            f"image_{camera.name}": resize(image, camera.height, camera.width, manifest.resize)[None]
            for camera in manifest.cameras
        }
        return model.infer(images, sample.state, sample.instruction).actions

    return Way("step", act)


def _repeated(name: str, frame: Callable[[], None]) -> Way:
    """A way that records ``_FRAMES`` frames and looks at none."""
    nothing = np.zeros((1, 1), np.float32)

    def act(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        for _ in range(_FRAMES):
            frame()
        return nothing

    return Way(name, act)


def _chunk() -> ActionChunk:
    return ActionChunk(np.zeros((1, 7), np.float32), NS_PER_S, NS_PER_S // 30, 1, "0" * 64, 0)


_STAGES = StageTimes(capture=3_000_000, preprocess=300_000, step=20_000_000)


def _policy(spans: SpanRing) -> Way:
    watch, turn = TurnSpans(spans), Turn(_chunk(), None, _STAGES, NS_PER_S, NS_PER_S)
    return _repeated("policy", lambda: watch(turn))


def _guard(spans: SpanRing, ticks: int) -> Way:
    report = GuardReport(MonotonicClock(), "0" * 64)
    report.spans = spans
    values = np.zeros(7)
    command = Command(values, NS_PER_S, 0)
    chunk, health, wake = ChunkMessage.of(_chunk()), Health(NS_PER_S, _STAGES, ()), Wake(50_000, False)
    frames = count(1)

    def frame() -> None:
        result = TickResult(State.ARMED, command, Verdict("policy", (), next(frames)), (), values)
        report.chunk(chunk)
        report.health(health)
        for _ in range(ticks):
            report.woke(wake)
            report.decided(result.verdict, NS_PER_S)
            report.published(result, NS_PER_S)

    return _repeated("guard", frame)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the shares; 1 when there were too few undisturbed samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder of a bundle; its signature is not asked for")
    parser.add_argument("--engines", type=Path, metavar="DIR", help="what was compiled of it (default: none of it)")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures to F")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as nothing:
        engines = arguments.engines or Path(nothing)
        found = cost(Bundle.open(arguments.bundle, None), PolicyConfig(engines=engines))
    print(
        f"{found.bundle}: a step takes {found.step_us:.0f} µs; records of one frame take {found.policy_us:.1f} µs in "
        f"the policy, {found.policy_share:.2%} of the step, and {found.guard_us:.1f} µs in the guard with its "
        f"{found.ticks} ticks, together {found.share:.2%} ({found.accepted} samples, {found.dropped} dropped)"
    )
    if arguments.json is not None:
        shares = {"policy_share": found.policy_share, "share": found.share}
        arguments.json.write_text(json.dumps(dataclasses.asdict(found) | shares, indent=2) + "\n", encoding="utf-8")
    return 0 if found.accepted >= ACCEPTED else 1


if __name__ == "__main__":
    sys.exit(main())
