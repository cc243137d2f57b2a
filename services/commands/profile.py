"""Measure where every millisecond goes, from photon to command.

Runs the real policy and guard processes on BUNDLE, whose commands go into a file instead of to a robot, and prints
percentiles per stage and of the frame-to-command age. With --config it watches the daemons that run on a robot
instead, and costs them nothing. Stages: capture (age of the frame when the step starts), preprocess, tokenize and
language (once an instruction), step, link (from sent to taken in at the guard's next tick), wake (how late a tick
began), guard, publish.

  --camera video:clip.mp4 | frames:FOLDER | v4l2:/dev/video0 | ros:/camera/image_raw

With --layers, only the engines run, on the bundle's golden observations, and the time goes to the policy's blocks
('ViT block 7 MLP'), beside what this machine can do at best.

Ends with status 1 if a limit of --budget was exceeded. docs/PROFILING.md says how to read the figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.runtime.errors import ConfigError
from jetvla.services import layers_report
from jetvla.services.termination import ends_cleanly

if TYPE_CHECKING:
    from jetvla.services.profiling.budget import Budget
    from jetvla.services.profiling.record import Profile

_SECONDS = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    _add_subject(parser)
    _add_pace(parser)
    _add_results(parser)


def _add_subject(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, nargs="?", help="folder of a bundle")
    parser.add_argument("--config", type=Path, metavar="F", help="watch the daemons that run with this configuration")
    parser.add_argument("--camera", help="KIND:PLACE for every camera (default: generated 640x480 pictures)")
    parser.add_argument("--instruction", default="pick up the red block", help="default: %(default)s")
    parser.add_argument("--precision", default="auto", help="auto, fp32, int8-fp32, ... (default: %(default)s)")
    parser.add_argument("--engines", type=Path, metavar="DIR", help="folder of what 'jetvla compile' made")
    parser.add_argument(
        "--trusted",
        type=Path,
        default=Path("/etc/jetvla/trusted.d"),
        help="folder of trusted keys (default: %(default)s)",
    )
    layers_report.configure(parser)


def _add_pace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="after warm-up (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=30.0, help="pictures a second (default: %(default)s)")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--saturate", action="store_true", help="let the policy answer as fast as it can")
    way.add_argument("--engine-only", action="store_true", help="run the step engine alone, back to back and at --rate")


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--budget", type=Path, metavar="F", help="limits per stage; exit with 1 if one is exceeded")
    parser.add_argument("--json", type=Path, metavar="F", help="write figures and samples to F, for 'jetvla compare'")
    parser.add_argument("--html", type=Path, metavar="F", help="write a page that needs nothing else to F")
    parser.add_argument("--against", type=Path, metavar="F", help="a former --json, to be compared with on the page")


@ends_cleanly()
def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from jetvla.services.profiling.budget import load_budget
    from jetvla.services.profiling.terminal import print_profile
    from jetvla.services.receipt.page import require_writable, write_text

    _require_sense(arguments)
    if arguments.layers:
        return layers_report.run(arguments)
    budget = None if arguments.budget is None else load_budget(arguments.budget)
    # Nobody wants to measure for minutes and hear then that the figures cannot be kept.
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
    if not 0.5 <= arguments.seconds <= 86400:
        raise ConfigError(f"--seconds {arguments.seconds:g} is out of range: 0.5 to 86400")
    if arguments.against is not None and arguments.html is None:
        raise ConfigError("--against needs --html, the page that shows the comparison; or use 'jetvla compare'")


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
    """The HTML file, if one is wanted; the former profile is read at once, so that a wrong one stops nothing later."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from jetvla.services.profiling.record import read_profile

        self._path, self._bundle = arguments.html, arguments.bundle
        self._former = None if arguments.against is None else read_profile(arguments.against)

    def write(self, profile: Profile) -> None:
        if self._path is None:
            return
        # Only this form needs the template library.
        from jetvla.services.profiling.page import page_of
        from jetvla.services.receipt.page import write_text

        write_text(page_of(profile, self._former), "--html", self._path, self._bundle)
        print(f"page: {self._path}")
