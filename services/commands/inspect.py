"""Print what a bundle holds: inputs, action spec with units, graphs, parity, precision and sizes."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.manifest import Manifest
from jetvla.services.bundle_source import opened


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder or .jetvla file")
    parser.add_argument("--json", action="store_true", help="print the manifest itself")


def run(arguments: argparse.Namespace) -> int:
    with opened(arguments.bundle, None) as bundle:
        if arguments.json:
            print(bundle.manifest.model_dump_json(indent=2))
        else:
            _print(bundle, Console())
    return 0


def _print(bundle: Bundle, console: Console) -> None:
    m = bundle.manifest
    console.print(f"[bold]{m.name}[/bold] version {m.version}, family {m.family}, digest {bundle.digest[:16]}")
    for camera in m.cameras:
        console.print(f"camera {camera.name}: {camera.width}x{camera.height} RGB, {m.resize.method}, {m.resize.fit}")
    if m.text is not None:
        console.print(f"instruction: at most {m.text.max_tokens} tokens")
    if m.state:
        console.print(f"state: {', '.join(m.state)}")
    console.print(f"chunk: {m.horizon} x {m.dt_s:g} s, a new one every {m.replan_s:g} s, execution {m.execution}")
    console.print(_actions(m), _graphs(bundle))
    for report in m.precision:
        fate = "written" if report.written else "not written"
        error = f"error {report.relative_error:.2%} of the range (tolerance {report.tolerance:.2%})"
        console.print(
            f"{report.precision}: {fate}; {error} on {report.error.samples} {report.held_out}; {report.reason}"
        )
    console.print(f"built with {', '.join(f'{k} {v}' for k, v in sorted(m.builder.items()))}")


def _actions(m: Manifest) -> Table:
    table = Table(title="action", title_justify="left")
    for column in (
        "dimension",
        "quantity",
        "unit",
        "semantics",
        "frame",
        "range",
        "parity max",
        "parity mean",
    ):
        table.add_column(column)
    for i, d in enumerate(m.action.dimensions):
        span = "" if d.range is None else f"{d.range[0]:g} .. {d.range[1]:g}"
        row = (d.name, d.quantity, d.unit, d.semantics, d.frame, span)
        table.add_row(*row, f"{m.parity.max[i]:.1e}", f"{m.parity.mean[i]:.1e}")
    return table


def _graphs(bundle: Bundle) -> Table:
    table = Table(title="graphs", title_justify="left")
    table.add_column("graph")
    table.add_column("MB", justify="right")
    table.add_column("inputs", overflow="fold")
    table.add_column("outputs", overflow="fold")
    for name, graph in bundle.manifest.graphs.items():
        size = sum(f.size for n, f in bundle.manifest.files.items() if n.startswith(graph.file)) / 1e6
        ends = [
            ", ".join(f"{k} {t.dtype} {list(t.shape)}" for k, t in side.items())
            for side in (graph.inputs, graph.outputs)
        ]
        table.add_row(name, f"{size:.2f}", *ends)
    return table
