"""What a policy takes and gives."""

from __future__ import annotations

from jetvla.runtime.manifest import Manifest, TextSpec
from jetvla.services.receipt.document import Cell, Column, Section, Table
from jetvla.services.receipt.wording import listed, number, plural


def inputs(m: Manifest) -> Section:
    cameras = Table(
        "Cameras",
        (Column("camera"), Column("width", "number"), Column("height", "number"), Column("colours", "word")),
        tuple((c.name, f"{c.width} px", f"{c.height} px", "RGB, 8 bit") for c in m.cameras),
    )
    facts: tuple[tuple[str, Cell], ...] = (
        ("Resize", f"{m.resize.method}, {m.resize.fit}"),
        ("State", listed(m.state)),
        ("Instruction", "none" if m.text is None else _text(m.text)),
    )
    return Section("Inputs", facts, (cameras,))


def _text(text: TextSpec) -> str:
    kept = "in the language graph" if text.embedding is None else f"in {text.embedding}, memory-mapped"
    return (
        f"at most {text.max_tokens} tokens of {text.tokenizer}, filled up with token {text.pad_id}; "
        f"word embedding {kept}"
    )


def actions(m: Manifest) -> Section:
    spec = m.action
    facts: tuple[tuple[str, Cell], ...] = (
        ("Dimensions", str(len(spec))),
        ("Rotation", spec.rotation or "none"),
        ("Chunk", f"{plural(m.horizon, 'action')} of {m.dt_s:.4g} s: {m.horizon * m.dt_s:.4g} s"),
        ("Replan", f"a new chunk every {m.replan_s:.4g} s"),
        ("Execution", m.execution),
    )
    return Section("Actions", facts, (_meaning(m), _statistics(m)))


def _meaning(m: Manifest) -> Table:
    names = ("quantity", "unit", "semantics", "frame", "range")
    rows = [(d.name, d.quantity, d.unit, d.semantics, d.frame or "–", _range(d.range)) for d in m.action.dimensions]
    return Table("Meaning", (Column("dimension"), *(Column(name, "word") for name in names)), tuple(rows))


def _range(span: tuple[float, float] | None) -> str:
    return "–" if span is None else f"{span[0]:g} .. {span[1]:g}"


def _statistics(m: Manifest) -> Table:
    columns = ("error scale", "mean", "deviation")
    rows = zip(m.action.dimensions, m.golden.scale, m.normalization.mean, m.normalization.std, strict=True)
    return Table(
        "Statistics",
        (Column("dimension"), Column("unit", "word"), *(Column(name, "number") for name in columns)),
        tuple((d.name, d.unit, number(scale), number(mean), number(std)) for d, scale, mean, std in rows),
        "Errors in per cent of range are divided by the error scale: the declared range, else the recorded one. Mean "
        "and deviation of the training data are inside the step graph already.",
    )
