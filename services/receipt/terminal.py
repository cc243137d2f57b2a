"""A receipt on a terminal of 80 columns or more."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from jetvla.services.receipt.document import Badge, Bar, Cell, Receipt, Section, Strip, Table, Tone
from jetvla.services.receipt.wording import printable

_STYLES: dict[Tone, str] = {"good": "green", "warning": "yellow", "bad": "red", "plain": "cyan"}
_MARKS: dict[Tone, str] = {"good": "ok", "warning": "!", "bad": "FAIL", "plain": "-"}
_ROOMY = 100
_NARROWEST = 12
_FIGURES = len("12.3 %")


def print_receipt(receipt: Receipt, console: Console) -> None:
    """Print all of ``receipt``."""
    view = _View(console)
    console.print(Text(printable(receipt.name), style="bold"))
    console.print(view.facts(receipt.facts))
    console.print(view.verdicts(receipt))
    for section in receipt.sections:
        view.print_section(section)


class _View:
    """``console`` says how wide everything may be, and whether it knows more than ASCII."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._full, self._half, self._empty = "#-." if console.options.ascii_only else "█▌░"
        self._bar = 12 if console.width >= _ROOMY else 4

    def print_section(self, section: Section) -> None:
        self._console.print()
        self._console.rule(Text(printable(section.name), style="bold"), align="left", style="dim")
        if section.facts:
            self._console.print(self.facts(section.facts))
        for table in section.tables:
            self._console.print(self._table(table))

    def facts(self, facts: tuple[tuple[str, Cell], ...]) -> RenderableType:
        grid = Grid.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, cell in facts:
            grid.add_row(Text(printable(name)), self._cell(cell))
        return grid

    def verdicts(self, receipt: Receipt) -> RenderableType:
        grid = Grid.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for verdict in receipt.verdicts:
            style = _STYLES[verdict.tone]
            said = Text.assemble(
                (printable(verdict.question), "dim"),
                " ",
                (printable(verdict.answer), f"bold {style}"),
                "\n",
                printable(verdict.detail),
            )
            grid.add_row(Text(_MARKS[verdict.tone], style=f"bold {style}"), said)
        return Padding(grid, (1, 0, 0, 0))

    def _table(self, table: Table) -> RenderableType:
        grid = Grid(
            title=Text(printable(table.name), style="bold"),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1),
            collapse_padding=True,
        )
        for column in table.columns:
            text = column.kind == "text"
            grid.add_column(
                Text(printable(column.name)),
                justify="right" if column.kind == "number" else "left",
                no_wrap=not text,
                overflow="fold",
                min_width=_NARROWEST if text else None,
            )
        for row in table.rows:
            grid.add_row(*(self._cell(cell) for cell in row))
        note = [Text(printable(table.note), style="dim")] if table.note else []
        strip = [] if table.strip is None else [Padding(self._strip(table.strip), (1, 0, 0, 0))]
        return Padding(Group(grid, *note, *strip), (1, 0, 0, 0))

    def _cell(self, cell: Cell) -> Text:
        if isinstance(cell, Badge):
            return Text(printable(cell.text), style=_STYLES[cell.tone])
        if isinstance(cell, Bar):
            filled, half = divmod(round(cell.fill * self._bar * 2), 2)
            drawn = self._full * filled + self._half * half
            return Text.assemble(
                (drawn, _STYLES[cell.tone]),
                (self._empty * (self._bar - len(drawn)), "dim"),
                f" {printable(cell.text):>{_FIGURES}}",
            )
        return Text(printable(cell))

    def _strip(self, strip: Strip) -> Text:
        """Blocks side by side, each as long as its share; rounding is carried on, so that the whole has its length."""
        length, done, drawn = self._console.width, 0.0, 0
        line = Text()
        for part in strip.parts:
            done += part.share
            end = round(min(done, 1.0) * length)
            line.append((self._full if part.tone == "good" else self._empty) * (end - drawn), _STYLES[part.tone])
            drawn = end
        return Text.assemble(line, "\n", printable(strip.text))
