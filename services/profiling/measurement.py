"""The ways to make a profile: daemons of its own, daemons that run anyway, the engine alone."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.keys import load_trusted
from jetvla.runtime.telemetry.environment import read_environment
from jetvla.runtime.telemetry.status import read_status
from jetvla.services.bundle_source import opened
from jetvla.services.profiling.budget import Budget
from jetvla.services.profiling.engine import STEP, EngineProcess, EngineRun, Pace, open_engine
from jetvla.services.profiling.guard import MOMENTS
from jetvla.services.profiling.power import PowerMeter
from jetvla.services.profiling.record import (
    BACK_TO_BACK,
    SCHEMA,
    BackToBack,
    EngineFacts,
    Frames,
    Mode,
    Moment,
    PowerFigures,
    Profile,
)
from jetvla.services.profiling.rings import Rings
from jetvla.services.profiling.setting import Setting
from jetvla.services.profiling.window import Window, observe, require_unlatched
from jetvla.services.supervisor import PROFILED_GUARD, PROFILED_POLICY, Daemons

WARM_UP_S = 2.0
READY_S = 120.0
# A stop, rest and the next arming take about 3 s.
OBEYS_S = 20.0
_LOOK_EVERY_S = 0.05
_NO_FRAMES = Frames((), {})


def profile_bundle(setting: Setting, budget: Budget | None) -> Profile:
    """Run the setting's bundle in daemons of its own, whose commands go into a file.

    Raises:
        JetvlaError: if the bundle is not trusted, a daemon ends, or the guard cannot be armed in time.
    """
    with _prepared(setting) as (bundle, path):
        config = load_config(path)
        started_ns = time.monotonic_ns()
        with Daemons(path, (PROFILED_GUARD, PROFILED_POLICY)) as daemons:
            moments = _ready(config, daemons, started_ns)
            time.sleep(WARM_UP_S)
            window = observe(config, Rings(config), setting.seconds, budget, lambda: _require_running(daemons))
        measured = _Measured("saturated" if setting.saturate else "paced", bundle, setting.describe(), budget)
        with open_engine(path) as engine:
            # The daemons read their instruction once, before the measurement.
            for stage, times in engine.readings.items():
                window.collector.replace(stage, times)
            return replace(measured.profile(config, window, engine.facts), cold_start=moments)


def profile_running(path: Path, seconds: float, budget: Budget | None) -> Profile:
    """Watch the daemons that run with the configuration at ``path``; costs them nothing.

    Raises:
        JetvlaError: if they do not run, one ends or is started anew, or the guard latches.
    """
    config = load_config(path)
    status = read_status(config.status)
    if not status.fresh(now_ns := time.monotonic_ns()):
        age_s = status.age_s(now_ns)
        when = f"{age_s:.0f} s old" if age_s >= 0 else "of another start of the machine"
        raise JetvlaError(f"{config.status} is {when}: the guard is not running; start it with 'jetvla run'")
    # The policy has read the whole of it; to read it again would take the robot's cores and change nothing.
    bundle = Bundle.open(config.bundle, load_trusted(config.trusted), contents=False)
    if bundle.digest != status.bundle:
        raise JetvlaError(
            f"the guard runs the bundle {status.bundle[:12]}, and {config.bundle} is {bundle.digest[:12]} by now; "
            "restart the daemons, and measure what then runs"
        )
    window = observe(config, Rings(config), seconds, budget)
    cameras = ", ".join(f"{name}: {camera.kind}" for name, camera in config.cameras.items())
    outputs = ", ".join(output.kind for output in config.guard.outputs)
    setting = {"camera": cameras, "outputs": outputs, "instruction": status.instruction or "none"}
    return _Measured("attached", bundle, setting, budget).profile(config, window, None)


def profile_engine(setting: Setting, budget: Budget | None) -> Profile:
    """Run the step engine alone, half of the time back to back and half at the setting's rate.

    Raises:
        JetvlaError: if the bundle is not trusted, or the engine cannot run.
    """
    with _prepared(setting) as (bundle, path), open_engine(path) as engine:
        before = read_environment()
        without_pause, its_power = _run(engine, Pace(setting.seconds / 2, None))
        deadline_ns = None if budget is None else budget.deadlines_ns().get(STEP)
        paced, power = _run(engine, Pace(setting.seconds / 2, setting.rate_hz), deadline_ns)
        stages = paced.stages | {f"{n}, {BACK_TO_BACK}": figures for n, figures in without_pause.stages.items()}
        return Profile(
            schema=SCHEMA,
            mode="engine",
            measured_at=_now(),
            bundle=bundle.digest,
            policy=bundle.manifest.name,
            setting={"pace": f"back to back, and {setting.rate_hz:g} Hz"},
            engine_key=engine.key,
            engine=engine.facts,
            scheduling="",
            guard_hz=0.0,
            seconds=paced.seconds,
            rate_hz=_rate_hz(paced),
            stages=stages,
            frames=_NO_FRAMES,
            lost=0,
            stops={},
            cold_start=(),
            memory=(),
            power=power,
            environment=before,
            after=read_environment(),
            budget=() if budget is None else budget.judge(stages, {STEP: paced.misses}),
            back_to_back=BackToBack(without_pause.seconds, _rate_hz(without_pause), its_power),
        )


def _run(engine: EngineProcess, pace: Pace, deadline_ns: int | None = None) -> tuple[EngineRun, PowerFigures]:
    """The engine is warm by now: nothing but its steps and pauses is measured."""
    with PowerMeter() as power:
        run = engine.run(pace, deadline_ns)
    return run, power.figures(run.stages[STEP].count)


def _rate_hz(run: EngineRun) -> float:
    return run.stages[STEP].count / run.seconds


@dataclass(frozen=True, slots=True)
class _Measured:
    mode: Mode
    bundle: Bundle
    setting: dict[str, str]
    budget: Budget | None

    def profile(self, config: Config, window: Window, engine: EngineFacts | None) -> Profile:
        figures, misses = window.collector.figures(), window.collector.misses()
        return Profile(
            schema=SCHEMA,
            mode=self.mode,
            measured_at=_now(),
            bundle=self.bundle.digest,
            policy=self.bundle.manifest.name,
            setting=self.setting,
            engine_key=window.status.engine_key,
            engine=engine,
            scheduling=window.status.scheduling,
            guard_hz=config.guard.rate_hz,
            seconds=window.seconds,
            rate_hz=window.rate_hz,
            stages=figures,
            frames=window.collector.frames(),
            lost=window.lost,
            stops=window.stops,
            cold_start=(),
            memory=window.memory,
            power=window.power,
            environment=window.before,
            after=window.after,
            budget=() if self.budget is None else self.budget.judge(figures, misses, window.stopped),
        )


@contextmanager
def _prepared(setting: Setting) -> Iterator[tuple[Bundle, Path]]:
    """The bundle, and a configuration in a folder that is gone afterwards."""
    with (
        opened(setting.bundle, setting.trusted) as bundle,
        tempfile.TemporaryDirectory(prefix="jetvla-profile-") as folder,
    ):
        yield bundle, setting.write(bundle, Path(folder))


def _ready(config: Config, daemons: Daemons, started_ns: int) -> tuple[Moment, ...]:
    """Wait until the guard is armed, and for a while for its first command that obeys a frame; what came when.

    A guard whose tick comes late just then stops first, and arms itself again.
    """
    path = config.run_dir / MOMENTS
    if why := _missing(config, daemons, READY_S, path.exists):
        raise JetvlaError(f"the guard cannot be armed within {READY_S:g} s: {why}")
    rings, first_ends_ns = Rings(config), dict[str, int]()

    def obeys() -> bool:
        for span in chain(*rings.read()):
            first_ends_ns.setdefault(span.stage, span.end_ns)
        return "age" in first_ends_ns

    _missing(config, daemons, OBEYS_S, obeys)
    told = json.loads(path.read_text(encoding="utf-8"))
    return _cold_start(started_ns, told, rings.started_ns, first_ends_ns)


def _missing(config: Config, daemons: Daemons, seconds: float, done: Callable[[], bool]) -> str:
    """Empty as soon as it is ``done``; after ``seconds`` what the guard has said last."""
    give_up = time.monotonic() + seconds
    while not done():
        _require_running(daemons)
        why = "it has reported nothing"
        if config.status.exists():
            require_unlatched(status := read_status(config.status))
            why = "; ".join(status.events[-3:])
        if time.monotonic() > give_up:
            return why
        time.sleep(_LOOK_EVERY_S)
    return ""


def _require_running(daemons: Daemons) -> None:
    if (name := daemons.dead()) is not None:
        raise JetvlaError(f"the {name} process ended; its last lines say why")


def _cold_start(
    started_ns: int, told: Mapping[str, int], opened_ns: Mapping[str, int], first_ends_ns: Mapping[str, int]
) -> tuple[Moment, ...]:
    """From the start of the processes to the first command, in the order of time."""
    reached = {
        "guard: manifest verified": opened_ns["guard"],
        "policy: bundle verified": opened_ns["policy"],
        "first HELLO": told["hello"],
        "armed": told["armed"],
        "first chunk": first_ends_ns.get("step"),
        "first command that obeys a frame": first_ends_ns.get("age"),
    }
    known = [(name, ns) for name, ns in reached.items() if ns is not None]
    return tuple(Moment(name, round((ns - started_ns) / 1e6, 1)) for name, ns in sorted(known, key=lambda m: m[1]))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
