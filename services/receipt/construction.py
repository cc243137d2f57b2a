"""How a bundle was made, and what it consists of."""

from __future__ import annotations

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.manifest import CalibrationSpec, GraphSpec, Manifest, TensorSpec
from jetvla.services.receipt.document import Bar, Cell, Column, Section, Table
from jetvla.services.receipt.operators import count_operators
from jetvla.services.receipt.wording import listed, number, percent, size

_METHODS = {"mse": "least mean squared error", "max": "maximum", "percentile": "percentile", "entropy": "entropy (KL)"}
_DIGITS = 16


def calibration(m: Manifest) -> Section:
    if m.calibration is None:
        return Section("Calibration", (("Ranges", "none: no graph in INT8 was tried"),))
    return Section("Calibration", _calibration_facts(m.calibration))


def _calibration_facts(spec: CalibrationSpec) -> tuple[tuple[str, Cell], ...]:
    covered = "not measured: there was nothing to choose from"
    if spec.coverage is not None:
        covered = f"no recorded step is farther than {number(spec.coverage)} from a sample (1 = deviation of a feature)"
    return (
        ("Ranges by", f"{_METHODS[spec.method]} ({spec.method})"),
        ("Samples", f"{spec.samples}, selection {spec.selection}, seed {spec.seed}"),
        ("Coverage", covered),
        ("Episodes", listed(spec.episodes)),
        ("Held out", listed(spec.held_out)),
        ("Data digest", spec.data_sha256),
    )


def graphs(bundle: Bundle) -> Section:
    m = bundle.manifest
    rows, used = [], []
    for name, graph in m.graphs.items():
        operators = count_operators(bundle.file(graph.file))
        rows.append((name, size(_bytes(m, graph)), str(operators.total())))
        used.append((name, ", ".join(f"{count} {operator}" for operator, count in operators.most_common())))
    overview = Table("Graphs", (Column("graph"), Column("size", "number"), Column("nodes", "number")), tuple(rows))
    operators_table = Table("Operators", (Column("graph"), Column("nodes by operator")), tuple(used))
    return Section("Graphs", tables=(overview, *_interfaces(m), operators_table))


def _bytes(m: Manifest, graph: GraphSpec) -> int:
    """Size of the graph's file and of the weights that lie beside it, whose name begins with the file's."""
    return sum(f.size for name, f in m.files.items() if name.startswith(graph.file))


def _interfaces(m: Manifest) -> list[Table]:
    """One table for all graphs that have the same inputs and outputs."""
    found: list[tuple[GraphSpec, list[str]]] = []
    for name, graph in m.graphs.items():
        same = next((n for g, n in found if (g.inputs, g.outputs) == (graph.inputs, graph.outputs)), None)
        if same is None:
            found.append((graph, [name]))
        else:
            same.append(name)
    columns = (Column("tensor"), Column("side", "word"), Column("dtype", "word"), Column("shape", "word"))
    return [
        Table(
            f"Interface of {', '.join(names)}",
            columns,
            (*_ends("input", graph.inputs), *_ends("output", graph.outputs)),
        )
        for graph, names in found
    ]


def _ends(side: str, tensors: dict[str, TensorSpec]) -> list[tuple[Cell, ...]]:
    return [(name, side, t.dtype, " × ".join(map(str, t.shape)) or "scalar") for name, t in tensors.items()]


def files(m: Manifest) -> Section:
    whole = sum(f.size for f in m.files.values())
    table = Table(
        "Files",
        (Column("file"), Column("size", "number"), Column("part", "word"), Column("SHA-256 begins", "word")),
        tuple(
            (name, size(f.size), Bar(percent(f.size / (whole or 1)), f.size / (whole or 1)), f.sha256[:_DIGITS])
            for name, f in m.files.items()
        ),
        "Every digest was checked when this receipt was made; 'jetvla inspect --json' prints them whole.",
    )
    return Section("Sizes", (("Together", size(whole)),), (table,))


def built_with(m: Manifest) -> Section:
    return Section("Built with", tuple(sorted(m.builder.items())))
