"""Turn a checkpoint into a signed bundle.

CHECKPOINT is a folder (config.yaml, model.safetensors, tokenizer.json, normalization.json) or a bare .pt of the
course, of which the command line must then state the rest. The FP32 graphs are proved against PyTorch, other
precisions are measured on held-out episodes, and the output appears whole or not at all. It is a folder, or one
file if it ends in .jetvla.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jetvla.engines.families.settings import PolicySettings
    from jetvla.engines.observations import Observations


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, nargs="?", metavar="CHECKPOINT", help="checkpoint folder or .pt file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="what to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing BUNDLE")
    parser.add_argument("--random-init", choices=("base", "tiny"), help="random weights instead of CHECKPOINT")
    parser.add_argument("--episodes", type=Path, metavar="DIR", help="real recordings to calibrate with and judge by")
    parser.add_argument("--key", type=Path, metavar="FILE", help="private key that signs (default: unsigned)")
    parser.add_argument("--version", type=int, default=1, metavar="N", help="the bundle's own version (default: 1)")
    precision = parser.add_argument_group("precision")
    precision.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8", "auto"),
        default="auto",
        help="besides FP32; auto ships what is within tolerance, the others fail where it is not (default: auto)",
    )
    precision.add_argument("--target", choices=("cpu", "jetson", "both"), default="cpu", help="(default: cpu)")
    precision.add_argument(
        "--tolerance", type=float, default=0.01, metavar="X", help="largest mean action error, of range (default: 0.01)"
    )
    precision.add_argument("--force", action="store_true", help="ship the asked precision though it is over tolerance")
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
    declared.add_argument("--rate", type=float, metavar="HZ", help="action chunks per second")


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from jetvla.engines.build import BuildOptions, build
    from jetvla.engines.sources import Declared, open_policy, random_policy
    from jetvla.engines.variants import Wish
    from jetvla.runtime.errors import ConfigError

    if (arguments.checkpoint is None) == (arguments.random_init is None):
        raise ConfigError("give either a CHECKPOINT or --random-init")
    declared = Declared(
        arguments.action_spec,
        arguments.resize,
        arguments.fit,
        arguments.attention,
        arguments.tokenizer,
        arguments.rate,
    )
    console = Console(highlight=False)
    with console.status("loading"):
        policy = (
            open_policy(arguments.checkpoint, declared)
            if arguments.random_init is None
            else random_policy(arguments.random_init, declared)
        )
        observations = _observations(arguments, policy.settings)
    wish = Wish(arguments.precision, arguments.target, arguments.tolerance, arguments.force)
    options = BuildOptions(wish, arguments.version, arguments.key, arguments.overwrite)
    with console.status("building"):
        manifest = build(policy, observations, options, arguments.output, console.print)
    size = sum(file.size for file in manifest.files.values()) / 1e6
    signed = "unsigned" if arguments.key is None else f"signed with {arguments.key}"
    console.print(f"bundle: {arguments.output} ({size:.1f} MB, version {manifest.version}, {signed})")
    return 0


def _observations(arguments: argparse.Namespace, settings: PolicySettings) -> Observations:
    from jetvla.calibration.episodes import open_episodes
    from jetvla.engines.observations import random_observations, recorded_observations
    from jetvla.runtime.errors import ConfigError

    if arguments.episodes is not None:
        return recorded_observations(open_episodes(arguments.episodes), settings)
    if arguments.random_init is None:
        raise ConfigError("--episodes is missing: a bundle is calibrated with real recordings and judged by them")
    return random_observations(settings)
