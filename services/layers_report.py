"""``jetvla profile --layers``: the time of the step and of the language graph, block by block."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetvla.runtime.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from jetvla.engines.layers.profile import PolicyProfile
    from jetvla.engines.layers.roof import Roof
    from jetvla.engines.layers.table import LayerTable, Row
    from jetvla.runtime.bundle import Bundle

ENGINES = Path("/var/cache/jetvla/engines")
_TITLES = {"step": "the step, for every frame", "language": "language, when the instruction changes"}
_KERNELS_SHOWN = 8
# When other programs have more than this part of the cores, no figure is one to go by.
_DISTURBED = 0.05


def configure(parser: argparse.ArgumentParser) -> None:
    """Add ``--layers`` and what belongs to it."""
    group = parser.add_argument_group("layer by layer")
    group.add_argument("--layers", action="store_true", help="time of the policy's blocks, on golden observations")
    group.add_argument("--threads", type=int, metavar="N", help="of ONNX Runtime (default: all cores but one)")


def run(arguments: argparse.Namespace) -> int:
    """Profile, print the tables, write the figures to ``--json``."""
    from pydantic import ValidationError
    from rich.console import Console

    from jetvla.engines.layers.profile import profile_layers
    from jetvla.runtime.config import PolicyConfig
    from jetvla.services.bundle_source import opened
    from jetvla.services.receipt.page import require_writable, write_text

    threads = "auto" if arguments.threads is None else arguments.threads
    chosen = {"precision": arguments.precision, "threads": threads, "engines": arguments.engines or ENGINES}
    try:
        config = PolicyConfig.model_validate(chosen)
    except ValidationError as error:
        wrong = {e["loc"][0]: f"--{e['loc'][0]} {e['input']!r}: {e['msg']}" for e in error.errors()}
        raise ConfigError("; ".join(wrong.values())) from error
    if arguments.json is not None:
        require_writable("--json", arguments.json, arguments.bundle)
    console = Console(highlight=False, markup=False, width=None if Console().is_terminal else 120)
    with opened(arguments.bundle, arguments.trusted) as bundle:
        result = profile_layers(bundle, config, console.print)
    show(result, console)
    if arguments.json is not None:
        text = json.dumps(as_json(result, bundle), indent=2) + "\n"
        write_text(text, "--json", arguments.json, arguments.bundle)
    return 0


def show(profile: PolicyProfile, console: Console) -> None:
    """Print a table for each graph, kernels below it, and the roof."""
    threads = "" if profile.threads is None else f", threads: {profile.threads}"
    console.print(f"{profile.backend}, {profile.variant}{threads}")
    if profile.roof is None:
        console.print("the roof of a GPU is not measured")
    else:
        console.print(
            f"roof: {profile.roof.floats:.0f} GFLOP/s in FP32, {profile.roof.integers:.0f} GOP/s in INT8 (fastest "
            "of some products of 1024 x 1024 matrices, just now, in the same library, on as many threads)"
        )
    if profile.others > _DISTURBED:
        console.print(
            f"other programs used {profile.others:.0%} of the cores meanwhile: times are too long, and the roof too low"
        )
    for name, table in _graphs(profile):
        console.print(_blocks(table, _TITLES[name], profile.roof))
        if not table.rows:
            console.print(
                "the nodes of this graph bear no names of blocks: an older jetvla built the bundle; build it again"
            )
        if table.kernels:
            console.print(_kernels(table))


def _graphs(profile: PolicyProfile) -> list[tuple[str, LayerTable]]:
    both = (("step", profile.step), ("language", profile.language))
    return [(name, table) for name, table in both if table is not None]


def _blocks(table: LayerTable, title: str, roof: Roof | None) -> Table:
    from rich.table import Table

    total = table.all_blocks()
    unit = "GOP" if total.integer_gop else "GFLOP"
    shown = Table(title=f"{title}: {table.total_ms:.3f} ms, mean of the fastest half, {table.runs} runs")
    for column in ("block", "ms", "share", unit, f"{unit}/s", "in INT8", "of roof"):
        shown.add_column(column, justify="left" if column == "block" else "right")
    for row in table.rows:
        shown.add_row(*_cells(row, table.total_ms, roof))
    shown.add_section()
    for row in (*table.towers(), total):
        shown.add_row(*_cells(row, table.total_ms, roof))
    shown.add_section()
    for name, ms in (("other", table.other_ms), ("between layers", table.rest_ms), ("total", table.total_ms)):
        shown.add_row(name, f"{ms:.3f}", f"{ms / table.total_ms:.1%}")
    return shown


def _cells(row: Row, total_ms: float, roof: Roof | None) -> list[str]:
    cells = [row.name, f"{row.ms:.3f}", f"{row.ms / total_ms:.1%}"]
    if not row.gop:
        return cells
    speed, part = row.gop_per_s, None if roof is None else row.of_roof(roof)
    return [
        *cells,
        f"{row.gop:.3g}",
        "" if speed is None else f"{speed:.3g}",
        f"{row.integer_gop / row.gop:.0%}" if row.integer_gop else "",
        "" if part is None else f"{part:.1%}",
    ]


def _kernels(table: LayerTable) -> Table:
    from rich.table import Table

    shown = Table(title="kernels by kind")
    shown.add_column("kernel")
    shown.add_column("ms", justify="right")
    shown.add_column("share", justify="right")
    most, fewer = table.kernels[:_KERNELS_SHOWN], table.kernels[_KERNELS_SHOWN:]
    more = [(f"{len(fewer)} other kinds", sum(ms for _, ms in fewer))] if fewer else []
    for kind, ms in (*most, *more):
        shown.add_row(kind, f"{ms:.3f}", f"{ms / table.total_ms:.1%}")
    return shown


def as_json(profile: PolicyProfile, bundle: Bundle) -> dict[str, Any]:
    """All figures; times in milliseconds, operations in 1e9, the roof in 1e9 per second."""
    roof = profile.roof
    return {
        "bundle": bundle.digest,
        "backend": profile.backend,
        "variant": profile.variant,
        "threads": profile.threads,
        "others": profile.others,
        "roof": None if roof is None else {"fp32": roof.floats, "int8": roof.integers},
        **{name: _figures(table, roof) for name, table in _graphs(profile)},
    }


def _figures(table: LayerTable, roof: Roof | None) -> dict[str, Any]:
    return {
        "runs": table.runs,
        "total_ms": table.total_ms,
        "other_ms": table.other_ms,
        "between_layers_ms": table.rest_ms,
        "blocks": [_row_figures(row, roof) for row in table.rows],
        "towers": [_row_figures(row, roof) for row in table.towers()],
        "kernels_ms": dict(table.kernels),
    }


def _row_figures(row: Row, roof: Roof | None) -> dict[str, Any]:
    return {
        "name": row.name,
        "tower": row.tower,
        "ms": row.ms,
        "float_gop": row.float_gop,
        "int8_gop": row.integer_gop,
        "gop_per_s": row.gop_per_s,
        "of_roof": None if roof is None else row.of_roof(roof),
    }
