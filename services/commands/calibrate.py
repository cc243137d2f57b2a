"""What a builder measures recordings with.

  jetvla calibrate inspect DATA                            what recordings hold, cover, and lack
  jetvla calibrate ranges CHECKPOINT --episodes DATA -o F  every activation's range, for 'jetvla build --calibration'
  jetvla calibrate show FILE       what a calibration file holds: the ranges, and where they came from

DATA is a LeRobot data set (v2.1 or v3.0), a folder of HDF5 files, a video or a folder of videos with NAME.txt beside
each, or a folder of frames with instructions.txt.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from jetvla.services.termination import ends_cleanly

if TYPE_CHECKING:
    from jetvla.calibration.coverage import Coverage


class Subcommand(NamedTuple):
    """``configure`` adds its options; ``run`` returns the exit code."""

    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(SUBCOMMANDS))
    for name, subcommand in SUBCOMMANDS.items():
        subcommand.configure(actions.add_parser(name, help=subcommand.summary, description=subcommand.summary))


@ends_cleanly()
def run(arguments: argparse.Namespace) -> int:
    return SUBCOMMANDS[arguments.action].run(arguments)


def _configure_inspect(parser: argparse.ArgumentParser) -> None:
    from jetvla.runtime.action_spec import Quantity, RotationForm, Semantics, Unit

    parser.add_argument("data", type=Path, metavar="DATA", help="recordings")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw what the recordings cover")
    parser.add_argument("--json", action="store_true", help="print JSON")
    spec = parser.add_argument_group("a draft of the action spec, from recorded names and ranges")
    spec.add_argument("--write-action-spec", type=Path, metavar="FILE", help="write it; a person must then check it")
    spec.add_argument("--quantity", choices=get_args(Quantity), help="of every dimension")
    spec.add_argument("--unit", choices=get_args(Unit), help="of every dimension")
    spec.add_argument("--semantics", choices=get_args(Semantics), help="of every dimension")
    spec.add_argument("--rotation", choices=get_args(RotationForm), help="how angular dimensions are meant")


def _inspect(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from jetvla.calibration.coverage import measure
    from jetvla.calibration.coverage_picture import draw
    from jetvla.calibration.episodes import open_episodes
    from jetvla.services.coverage_report import as_json, print_coverage, summary

    _check_outputs(arguments)
    messages = Console(stderr=True, markup=False, soft_wrap=True)
    with messages.status("reading"):
        episodes = open_episodes(arguments.data)
        coverage = measure(episodes)
    name = arguments.data.resolve().name
    if arguments.json:
        print(json.dumps(as_json(coverage), indent=2))
    else:
        print_coverage(coverage, name, Console(highlight=False))
    if arguments.png is not None:
        with messages.status("drawing"):
            draw(coverage, episodes, f"{name}: {summary(coverage)}", arguments.png)
        messages.print(f"picture: {arguments.png}")
    if arguments.write_action_spec is not None:
        _write_spec(arguments, coverage)
        messages.print(f"action spec, to be checked: {arguments.write_action_spec}")
    return 0


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Before minutes of reading, not after."""
    from jetvla.runtime.errors import ConfigError

    for path in filter(None, (arguments.png, arguments.write_action_spec)):
        _check_folder(path)
    if arguments.write_action_spec is None:
        return
    missing = [f"--{name}" for name in ("quantity", "unit", "semantics") if getattr(arguments, name) is None]
    if missing:
        raise ConfigError(
            f"--write-action-spec needs {', '.join(missing)} too: no recording says what its numbers mean"
        )
    if arguments.write_action_spec.exists():
        raise ConfigError(f"{arguments.write_action_spec} exists, and may have been checked by a person; name another")


def _check_folder(path: Path) -> None:
    from jetvla.runtime.errors import ConfigError

    if not path.resolve().parent.is_dir():
        raise ConfigError(f"{path} cannot be written: there is no folder {path.resolve().parent}; make it")
    if path.is_dir():
        raise ConfigError(f"{path} cannot be written: it is a folder; name a file in it")


def _write_spec(arguments: argparse.Namespace, coverage: Coverage) -> None:
    from jetvla.calibration.action_draft import draft
    from jetvla.runtime.errors import ConfigError, EpisodeError

    if coverage.actions is None:
        raise EpisodeError(f"{arguments.data} has no actions, so there is nothing to describe in an action spec")
    meaning = (arguments.quantity, arguments.unit, arguments.semantics, arguments.rotation)
    text = draft(coverage.actions, *meaning, str(arguments.data))
    partial = arguments.write_action_spec.with_name(f".{arguments.write_action_spec.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(arguments.write_action_spec)
    except OSError as error:
        raise ConfigError(
            f"{arguments.write_action_spec} cannot be written ({error.strerror}); choose another place"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _configure_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="calibration file")


def _show(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from jetvla.calibration.calibration_file import CalibrationFile
    from jetvla.services.calibration_report import print_calibration

    print_calibration(CalibrationFile.read(arguments.file), Console(highlight=False))
    return 0


def _configure_ranges(parser: argparse.ArgumentParser) -> None:
    from jetvla.services.commands.build import add_data_options, add_declared_options

    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="as 'jetvla build' takes it")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="calibration file to write")
    add_data_options(parser)
    parser.add_argument(
        "--smooth", choices=("auto", "on", "off"), default="auto", help="SmoothQuant; auto keeps it where it helps"
    )
    add_declared_options(parser)


def _ranges(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from jetvla.engines.calibrate import calibrate
    from jetvla.runtime.errors import ConfigError
    from jetvla.services.commands.build import read_inputs

    _check_folder(arguments.output)
    if arguments.output.exists():
        raise ConfigError(f"{arguments.output} is already there; choose another -o, or remove it")
    console, arguments.random_init = Console(highlight=False, markup=False, soft_wrap=True), None
    policy, observations = read_inputs(arguments, console.print)
    data = arguments.episodes.resolve().name
    file = calibrate(policy, observations, arguments.method, arguments.smooth, data, console.print)
    file.write(arguments.output)
    console.print(f"calibration: {arguments.output} ({len(file.activations)} ranges of {len(file.samples)} samples)")
    return 0


SUBCOMMANDS: dict[str, Subcommand] = {
    "inspect": Subcommand("print what recordings hold, and draw what they cover", _configure_inspect, _inspect),
    "ranges": Subcommand("find every activation's range, for 'jetvla build --calibration'", _configure_ranges, _ranges),
    "show": Subcommand("print what a calibration file holds", _configure_show, _show),
}
