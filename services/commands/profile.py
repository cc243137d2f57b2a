"""Measure where every millisecond goes, from photon to command.

Runs the real policy process and the real guard on BUNDLE, arms the guard onto a log file instead of a robot, and
prints percentiles per stage and of the frame-to-command age. Stages: capture (age of the frame when the step
starts), preprocess, tokenize and language (once an instruction), step, link (from sent to taken in at the guard's
next tick), guard, publish (here: to the log file).

  --camera video:clip.mp4 | frames:FOLDER | v4l2:/dev/video0 | ros:/camera/image_raw

With --layers, only the engines run, on the bundle's golden observations, and the time goes to the policy's blocks
('ViT block 7 MLP'), beside what this machine can do at best.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from jetvla.services import layers_report


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument("--camera", help="KIND:PLACE for every camera (default: generated 640x480 pictures at 30 Hz)")
    parser.add_argument("--instruction", default="pick up the red block", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=10.0, help="after warm-up (default: %(default)s)")
    parser.add_argument("--precision", default="auto", help="auto, fp32, int8-fp32, ... (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures to F")
    parser.add_argument(
        "--trusted",
        type=Path,
        default=Path("/etc/jetvla/trusted.d"),
        help="folder of trusted keys (default: %(default)s)",
    )
    layers_report.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.layers:
        return layers_report.run(arguments)
    from rich.console import Console

    from jetvla.services.commands.status import stage_table
    from jetvla.services.profiling import profile

    result = profile(
        arguments.bundle,
        arguments.trusted,
        arguments.camera,
        arguments.instruction,
        arguments.precision,
        arguments.seconds,
    )
    console = Console()
    console.print(f"{result['machine']}; {result['policy']}; guard {result['scheduling']}")
    console.print(stage_table(result["stages"]))
    console.print(f"{result['rate_hz']:.1f} chunks/s; {_age(result)}")
    for reason in result["stops"]:
        console.print(f"the guard stopped the robot: {reason}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _age(result: dict[str, Any]) -> str:
    age = result["stages"].get("age")
    if age is None:
        return "no chunk was fresh enough for the guard to obey"
    return f"frame-to-command age p50 {age['p50']:.1f} ms, p99 {age['p99']:.1f} ms"
