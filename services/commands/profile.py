"""Measure where every millisecond goes, from photon to command.

Runs the real policy and guard processes on BUNDLE, whose commands go into a file instead of to a robot, and prints
percentiles per stage and of the frame-to-command age. With --config it watches the daemons that run on a robot
instead, and costs them nothing. Stages: capture (age of the frame when the step starts), preprocess, tokenize and
language (once an instruction), step, link (from sent to taken in at the guard's next tick), wake (how late a tick
began), guard, publish.

  --camera video:clip.mp4 | frames:FOLDER | v4l2:/dev/video0 | ros:/camera/image_raw

With --layers, only the engines run, on the bundle's golden observations, and the time goes to the policy's blocks
('ViT block 7 MLP'), beside what this machine can do at best.

Ends with status 1 if a limit of --budget was exceeded. With a budget the guard must not stop meanwhile (or at most as
often as its key 'stops' says), and a frame that the policy acted on and that no command obeyed misses the deadline of
'age'. docs/PROFILING.md says how to read the figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.runtime.errors import ConfigError, TelemetryError
from jetvla.services import layers_report
from jetvla.services.termination import ends_cleanly

if TYPE_CHECKING:
    from jetvla.services.profiling.budget import Budget
    from jetvla.services.profiling.record import Mode, Profile

_TRUSTED = Path("/etc/jetvla/trusted.d")
_SECONDS = 30.0
_RATE_HZ = 30.0
_INSTRUCTION = "pick up the red block"
_PRECISION = "auto"
# By way of measuring, what has no meaning for it: refused, since whoever gives it expects something of it.
_MEANINGLESS = {
    "--config": ("camera", "instruction", "precision", "engines", "trusted", "unsigned", "rate", "threads"),
    "--layers": (
        *("saturate", "engine_only", "camera", "instruction", "seconds", "rate"),
        *("budget", "html", "against"),
    ),
    "--engine-only": ("camera", "threads"),
    "without --layers": ("threads",),
}


def configure(parser: argparse.ArgumentParser) -> None:
    _add_subject(parser)
    _add_pace(parser)
    _add_results(parser)


def _add_subject(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, nargs="?", help="folder or .jetvla file")
    parser.add_argument("--config", type=Path, metavar="F", help="watch the daemons that run with this configuration")
    parser.add_argument("--camera", help="KIND:PLACE for every camera (default: generated 640x480 pictures)")
    parser.add_argument("--instruction", help=f"default: {_INSTRUCTION}")
    parser.add_argument("--precision", help=f"auto, fp32, int8-fp32, ... (default: {_PRECISION})")
    parser.add_argument("--engines", type=Path, metavar="DIR", help="folder of what 'jetvla compile' made")
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--trusted", type=Path, help=f"folder of trusted keys (default: {_TRUSTED})")
    trust.add_argument("--unsigned", action="store_true", help="check files only, not the signature")
    layers_report.configure(parser)


def _add_pace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, help=f"after warm-up (default: {_SECONDS:g})")
    parser.add_argument("--rate", type=float, help=f"pictures a second (default: {_RATE_HZ:g})")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--saturate", action="store_true", help="let the policy answer as fast as it can")
    way.add_argument("--engine-only", action="store_true", help="run the step engine alone, back to back and at --rate")


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--budget", type=Path, metavar="F", help="limits of stages and stops; status 1 if exceeded")
    parser.add_argument("--json", type=Path, metavar="F", help="write figures and samples to F, for 'jetvla compare'")
    parser.add_argument("--html", type=Path, metavar="F", help="write a page that needs nothing else to F")
    parser.add_argument("--against", type=Path, metavar="F", help="a former --json, to be compared with on the page")
    parser.add_argument("--force", action="store_true", help="with --against: compare whatever is in both")


@ends_cleanly()
def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from jetvla.services.profiling.budget import load_budget
    from jetvla.services.profiling.terminal import print_profile
    from jetvla.services.receipt.page import require_writable, write_text

    _require_sense(arguments)
    _fill_in(arguments)
    if arguments.layers:
        return layers_report.run(arguments)
    # Nobody wants to measure for minutes and hear then that the figures cannot be kept, judged or compared.
    budget = None if arguments.budget is None else load_budget(arguments.budget)
    if budget is not None and arguments.engine_only and (others := sorted(budget.limited - {"step"})):
        raise ConfigError(f"--engine-only runs the step alone, and {arguments.budget} limits {', '.join(others)} too")
    page = _Page(arguments)
    for option in ("json", "html"):
        if (path := getattr(arguments, option)) is not None:
            require_writable(f"--{option}", path, arguments.bundle)
    profile = _measure(arguments, budget)
    print_profile(profile, Console())
    if arguments.json is not None:
        write_text(profile.as_json(), "--json", arguments.json, arguments.bundle)
    page.write(profile)
    return 1 if profile.exceeded else 0


def _require_sense(arguments: argparse.Namespace) -> None:
    if (arguments.bundle is None) == (arguments.config is None):
        raise ConfigError("name either a BUNDLE to run, or the running daemons' configuration with --config")
    if arguments.config is not None and (arguments.saturate or arguments.engine_only or arguments.layers):
        raise ConfigError("--saturate, --engine-only and --layers need a BUNDLE: running daemons are only watched")
    for way in _ways(arguments):
        for name in _MEANINGLESS[way]:
            if (given := getattr(arguments, name)) is not None and given is not False:
                raise ConfigError(f"--{name.replace('_', '-')} has no meaning {_with(way)}; leave it out")
    if arguments.rate is not None and (arguments.camera or "frames:").partition(":")[0] != "frames":
        raise ConfigError(f"--rate has no meaning with --camera {arguments.camera}, which has its own; leave it out")
    if arguments.seconds is not None and not 0.5 <= arguments.seconds <= 86400:
        raise ConfigError(f"--seconds {arguments.seconds:g} is out of range: 0.5 to 86400")
    if arguments.against is not None and arguments.html is None:
        raise ConfigError("--against needs --html, the page that shows the comparison; or use 'jetvla compare'")
    if arguments.force and arguments.against is None:
        raise ConfigError("--force needs --against: nothing else is refused that could be forced")


def _ways(arguments: argparse.Namespace) -> list[str]:
    named = [f"--{n.replace('_', '-')}" for n in ("config", "layers", "engine_only") if getattr(arguments, n)]
    return named or ["without --layers"]


def _with(way: str) -> str:
    return f"with {way}" if way.startswith("--") else way


def _fill_in(arguments: argparse.Namespace) -> None:
    """What was not given."""
    defaults = {
        "seconds": _SECONDS,
        "rate": _RATE_HZ,
        "instruction": _INSTRUCTION,
        "precision": _PRECISION,
        "trusted": _TRUSTED,
    }
    for name, value in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if arguments.unsigned:
        arguments.trusted = None


def _mode(arguments: argparse.Namespace) -> Mode:
    if arguments.config is not None:
        return "attached"
    if arguments.engine_only:
        return "engine"
    return "saturated" if arguments.saturate else "paced"


def _measure(arguments: argparse.Namespace, budget: Budget | None) -> Profile:
    from jetvla.services.profiling.measurement import profile_bundle, profile_engine, profile_running
    from jetvla.services.profiling.setting import Setting

    if arguments.config is not None:
        return profile_running(arguments.config, arguments.seconds, budget)
    setting = Setting(
        bundle=arguments.bundle,
        trusted=arguments.trusted,
        camera=arguments.camera,
        instruction=arguments.instruction,
        precision=arguments.precision,
        rate_hz=arguments.rate,
        saturate=arguments.saturate,
        seconds=arguments.seconds,
        engines=arguments.engines,
    )
    return (profile_engine if arguments.engine_only else profile_bundle)(setting, budget)


class _Page:
    """The HTML file, if one is wanted; the former profile is read at once, so that a wrong one stops nothing later.

    Raises:
        TelemetryError: if it cannot be read, or, without --force, has nothing in common with a measurement of this
            kind, here and now.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        from jetvla.runtime.telemetry.environment import read_environment
        from jetvla.services.profiling.comparison import hindrances
        from jetvla.services.profiling.record import read_profile

        self._path, self._bundle, self._force = arguments.html, arguments.bundle, arguments.force
        self._former = None if arguments.against is None else read_profile(arguments.against)
        if self._former is None or self._force:
            return
        if why := hindrances(self._former, read_environment(), _mode(arguments)):
            raise TelemetryError(
                f"{arguments.against} has nothing in common with this measurement: {'; '.join(why)}; measure both "
                "alike, or insist with --force"
            )

    def write(self, profile: Profile) -> None:
        if self._path is None:
            return
        # Only this form needs the template library.
        from jetvla.services.profiling.page import page_of
        from jetvla.services.receipt.page import write_text

        write_text(page_of(profile, self._former, self._force), "--html", self._path, self._bundle)
        print(f"page: {self._path}")
