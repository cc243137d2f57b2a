"""Turn a checkpoint into a signed bundle.

CHECKPOINT is a folder (config.yaml, model.safetensors, tokenizer.json, normalization.json), a folder as LeRobot
saves an ACT policy, or a bare .pt of the course; what it does not record, the command line must state. The FP32
graphs are proved against PyTorch, other precisions are measured on held-out episodes, and the output appears whole
or not at all. It is a folder, or one file if it ends in .jetvla.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.services.termination import ends_cleanly

if TYPE_CHECKING:
    from jetvla.calibration.episodes import Episode
    from jetvla.engines.observations import Observations
    from jetvla.engines.policy import Policy
    from jetvla.engines.sources import Declared


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, nargs="?", metavar="CHECKPOINT", help="checkpoint folder or .pt file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="what to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing BUNDLE")
    parser.add_argument("--random-init", choices=("base", "tiny"), help="random weights instead of CHECKPOINT")
    add_data_options(parser)
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="ranges that 'jetvla calibrate ranges' wrote")
    parser.add_argument("--key", type=Path, metavar="FILE", help="private key that signs (default: unsigned)")
    parser.add_argument("--version", type=int, default=1, metavar="N", help="the bundle's own version (default: 1)")
    parser.add_argument(
        "--execution",
        choices=("latest", "temporal_ensemble", "blend"),
        help="how the guard merges chunks that overlap in time (default: as the checkpoint says, else latest)",
    )
    precision = parser.add_argument_group("precision")
    precision.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8", "auto"),
        default="auto",
        help="besides FP32; auto ships what is within tolerance, the others fail where it is not (default: auto)",
    )
    precision.add_argument("--target", choices=("cpu", "jetson", "both"), default="cpu", help="(default: cpu)")
    precision.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="X",
        help="largest mean action error of every dimension: 1%% of its range (the default), or 0.01rad for all "
        "dimensions in rad; may be repeated",
    )
    precision.add_argument(
        "--smooth", choices=("auto", "on", "off"), default="auto", help="SmoothQuant; auto keeps it where it helps"
    )
    precision.add_argument("--force", action="store_true", help="ship the asked precision though it is over tolerance")
    add_declared_options(parser)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Which recordings to calibrate with and judge by."""
    data = parser.add_argument_group("recordings")
    data.add_argument(
        "--episodes",
        type=Path,
        metavar="DATA",
        help="HDF5 folder, LeRobot data set, folder of frames, or video: calibrates; a quarter of it judges",
    )
    data.add_argument("--held-out", type=Path, metavar="DATA", help="judges instead of that quarter")
    data.add_argument("--samples", type=int, default=64, metavar="N", help="calibration samples (default: 64)")
    data.add_argument(
        "--selection",
        choices=("covering", "uniform"),
        default="covering",
        help="far apart in image and state, or evenly spread (default: covering)",
    )
    data.add_argument("--seed", type=int, default=0, metavar="N", help="of the held-out split and the selection")
    data.add_argument(
        "--method",
        choices=("mse", "percentile", "entropy", "max"),
        default="mse",
        help="from an activation's histogram to its range (default: mse)",
    )


def add_declared_options(parser: argparse.ArgumentParser) -> None:
    """What a checkpoint may leave open."""
    declared = parser.add_argument_group("what the checkpoint does not state")
    declared.add_argument("--action-spec", type=Path, metavar="FILE", help="meaning of every action dimension")
    declared.add_argument(
        "--resize",
        choices=("pillow_bilinear", "pillow_bicubic", "opencv_linear", "opencv_area"),
        help="resize of training",
    )
    declared.add_argument("--fit", choices=("stretch", "pad", "crop"), help="fit of that resize")
    declared.add_argument("--attention", choices=("corrected", "course"), help="what the fusion attends to")
    declared.add_argument("--tokenizer", type=Path, metavar="FILE", help="tokenizer.json")
    declared.add_argument("--rate", type=float, metavar="HZ", help="actions per second (default: of the recordings)")
    declared.add_argument(
        "--state-names", metavar="A,B,...", help="names of the state's numbers (default: of the recordings)"
    )


@ends_cleanly()
def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from jetvla.engines.build import BuildOptions, build
    from jetvla.engines.publication import check_output
    from jetvla.engines.tolerance import Tolerance
    from jetvla.engines.variants import Wish

    # Paths, which a user may want to copy, and may have called "[red]".
    console = Console(highlight=False, markup=False, soft_wrap=True)
    tolerance = Tolerance.parse(arguments.tolerance)
    check_output(arguments.output, arguments.overwrite)
    if arguments.key is None:
        console.print(
            f"without --key the bundle will be unsigned, and no device installs it; to sign it later: "
            f"jetvla bundle sign {arguments.output} --key FILE"
        )
    with console.status("loading"):
        policy, observations = read_inputs(arguments, console.print)
    wish = Wish(
        arguments.precision,
        arguments.target,
        tolerance.of(policy.settings.action, observations.scale),
        arguments.force,
        arguments.method,
        arguments.smooth,
    )
    a = arguments
    options = BuildOptions(wish, a.version, a.key, a.overwrite, a.calibration, a.execution)
    with console.status("building"):
        manifest = build(policy, observations, options, arguments.output, console.print)
    size = sum(file.size for file in manifest.files.values()) / 1e6
    signed = "unsigned" if arguments.key is None else f"signed with {arguments.key}"
    console.print(f"bundle: {arguments.output} ({size:.1f} MB, version {manifest.version}, {signed})")
    return 0


def read_inputs(arguments: argparse.Namespace, say: Callable[[str], None]) -> tuple[Policy, Observations]:
    """The policy and the samples that the command line names."""
    from jetvla.calibration.episodes import open_episodes
    from jetvla.engines.observations import Choice, random_observations, recorded_observations
    from jetvla.engines.sources import check_kind
    from jetvla.runtime.errors import ConfigError

    if (arguments.checkpoint is None) == (arguments.random_init is None):
        raise ConfigError("give either a CHECKPOINT or --random-init")
    if arguments.checkpoint is not None and not arguments.checkpoint.exists():
        raise ConfigError(f"{arguments.checkpoint} is neither a checkpoint folder nor a .pt file: it is missing")
    if arguments.checkpoint is not None:
        check_kind(arguments.checkpoint)
    if arguments.episodes is None and arguments.random_init is None:
        raise ConfigError("--episodes is missing: a bundle is calibrated with real recordings and judged by them")
    if arguments.episodes is None and arguments.held_out is not None:
        raise ConfigError("--held-out judges what --episodes calibrates; give both")
    for option, number, least in (("--samples", arguments.samples, 1), ("--seed", arguments.seed, 0)):
        if number < least:
            raise ConfigError(f"{option} {number}: give at least {least}")
    episodes = [] if arguments.episodes is None else open_episodes(arguments.episodes)
    judges = None if arguments.held_out is None else open_episodes(arguments.held_out)
    declared = _declared(arguments, episodes, say)
    policy = _checked_policy(arguments, declared, [*episodes, *(judges or ())], say)
    if not episodes:
        return policy, random_observations(policy.settings)
    choice = Choice(arguments.samples, arguments.selection, arguments.seed)
    return policy, recorded_observations(episodes, policy.settings, choice, judges)


def _checked_policy(
    arguments: argparse.Namespace, declared: Declared, recorded: Sequence[Episode], say: Callable[[str], None]
) -> Policy:
    """The policy, whose numbers have the places that the recordings name; what was stated is checked first."""
    from jetvla.engines.checkpoint import CONFIG
    from jetvla.engines.recorded_names import beyond_ranges, check_action_names, check_state_names
    from jetvla.engines.sources import open_policy, random_policy

    spec = declared.action_spec()
    if spec is not None:
        _say_warning(check_action_names(spec, recorded, arguments.action_spec), say)
    check_state_names(declared.state or (), recorded, "--state-names")
    if arguments.random_init is not None:
        return random_policy(arguments.random_init, declared)
    policy = open_policy(arguments.checkpoint, declared)
    settings, file = policy.settings, arguments.checkpoint / CONFIG
    if spec is None:
        _say_warning(check_action_names(settings.action, recorded, file, "action"), say)
    check_state_names(settings.state, recorded, str(file))
    _say_warning(beyond_ranges(settings.action, policy.actions), say)
    return policy


def _say_warning(warning: str | None, say: Callable[[str], None]) -> None:
    if warning is not None:
        say(warning)


def _declared(arguments: argparse.Namespace, episodes: Sequence[Episode], say: Callable[[str], None]) -> Declared:
    """The command line's word; for a LeRobot policy, which records neither, the recordings' rate and state names."""
    from jetvla.engines.lerobot import is_lerobot
    from jetvla.engines.sources import Declared

    rate_hz = arguments.rate
    names = None if arguments.state_names is None else tuple(arguments.state_names.split(","))
    if episodes and arguments.checkpoint is not None and is_lerobot(arguments.checkpoint):
        if rate_hz is None and episodes[0].fps is not None:
            rate_hz = episodes[0].fps
            say(f"rate: {rate_hz:g} actions per second, as in {arguments.episodes}")
        if names is None and episodes[0].state_names is not None:
            names = episodes[0].state_names
            say(f"state: {', '.join(names)}, as in {arguments.episodes}")
    return Declared(
        arguments.action_spec,
        arguments.resize,
        arguments.fit,
        arguments.attention,
        arguments.tokenizer,
        rate_hz,
        names,
    )
