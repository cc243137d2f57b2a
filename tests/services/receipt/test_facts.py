"""What a receipt says, on the terminal and on the page alike."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jetvla.runtime.bundle import MANIFEST, Bundle, digest_file
from jetvla.runtime.errors import BundleError
from jetvla.runtime.keys import load_trusted
from jetvla.services.receipt import receipt_of
from jetvla.services.receipt.document import Cell, Receipt, Table, Verdict
from jetvla.services.receipt.page import page_of
from jetvla.services.receipt.terminal import print_receipt
from jetvla.services.receipt.wording import number, percent, size

Alter = Callable[[Callable[[dict[str, Any]], None]], Path]
VOID = ("meta", "link", "wbr")


def receipt(bundle: Path, keys: Path | None = None) -> Receipt:
    return receipt_of(Bundle.open(bundle, None if keys is None else load_trusted(keys)))


def on_terminal(shown: Receipt, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        print_receipt(shown, console)
    return capture.get().splitlines()


class Page(HTMLParser):
    """Text and tags of a page; fails on tags that do not nest and on what could run or load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "data", "action", "xlink:href"):
                assert (value or "").startswith(("#s", "data:,"))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def words(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def said(shown: Receipt) -> Iterator[str]:
    """Every piece of text of a receipt."""
    yield shown.name
    for v in shown.verdicts:
        yield from (v.question, v.answer, v.detail)
    for section in shown.sections:
        yield section.name
    for name, cell in [*shown.facts, *(fact for section in shown.sections for fact in section.facts)]:
        yield from (name, words(cell))
    for table in tables(shown):
        yield from (table.name, table.note, *(column.name for column in table.columns))
        yield from (words(cell) for row in table.rows for cell in row)
        if table.strip is not None:
            yield table.strip.text


def tables(shown: Receipt) -> Iterator[Table]:
    for section in shown.sections:
        yield from section.tables


def values(data: Any) -> Iterator[str | float]:
    """Strings and numbers in a manifest, and the names that are not field names: graphs, tensors, files, versions."""
    if isinstance(data, dict):
        for key, inner in data.items():
            yield from values(inner)
            if key in ("graphs", "inputs", "outputs", "files", "builder"):
                yield from inner
    elif isinstance(data, list):
        for inner in data:
            yield from values(inner)
    elif data is not None and not isinstance(data, bool):
        yield data


def verdict(shown: Receipt, question: str) -> Verdict:
    (found,) = [v for v in shown.verdicts if v.question.startswith(question)]
    return found


def squeezed(text: str) -> str:
    """Without what a narrow terminal may add: spaces and line ends."""
    return "".join(text.split())


@pytest.mark.parametrize("policy", ["tiny_bundle", "humanoid"])
def test_nothing_of_the_manifest_is_left_out(policy: str, request: pytest.FixtureRequest) -> None:
    bundle: Path = request.getfixturevalue(policy)
    manifest = json.loads((bundle / MANIFEST).read_bytes())
    for file in manifest["files"].values():
        file["sha256"] = file["sha256"][:16]
    for names in (manifest["calibration"]["episodes"], manifest["calibration"]["held_out"]):
        names[:] = [" to ".join((names[0], names[-1]))] if names else []
    text = squeezed(" ".join(said(receipt(bundle)))).casefold()
    for value in values(manifest):
        forms = [str(value)]
        if not isinstance(value, str):
            forms += [f"{value:g}", number(value), number(value * 100), percent(value)] + (
                [size(value)] if isinstance(value, int) else []
            )
        assert any(squeezed(form).casefold() in text for form in forms), value


@pytest.mark.parametrize("policy", ["tiny_bundle", "humanoid"])
def test_the_page_says_all_and_is_well_formed_and_self_contained(policy: str, request: pytest.FixtureRequest) -> None:
    shown = receipt(request.getfixturevalue(policy))
    html = page_of(shown)
    page = Page(html)
    for piece in said(shown):
        assert piece in page.text
    assert page.tags.isdisjoint({"script", "img", "iframe", "object", "embed", "form", "base"})
    for address in ("http:", "https:", "url(", "@import"):
        assert address not in html
    assert html == page_of(shown)


@pytest.mark.parametrize("policy", ["tiny_bundle", "humanoid"])
@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_every_row_on_one_line(policy: str, width: int, request: pytest.FixtureRequest) -> None:
    shown = receipt(request.getfixturevalue(policy))
    lines = on_terminal(shown, width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    rows = [squeezed(line.translate(dict.fromkeys(map(ord, "█▌░")))) for line in lines]
    for table in tables(shown):
        for row in table.rows:
            # Lists of operators are text, and flow.
            if [column.kind for column in table.columns].count("text") == 1:
                assert squeezed("".join(map(words, row))) in rows, row
    everything = "".join(rows)
    for piece in said(shown):
        if len(piece) < width // 2:
            assert squeezed(piece) in everything


def test_an_ascii_terminal_gets_ascii_bars(humanoid: Path) -> None:
    buffer = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    print_receipt(receipt(humanoid), Console(file=buffer, width=100))
    buffer.flush()
    assert b"##" in buffer.buffer.getvalue()  # type: ignore[attr-defined]


def test_the_signature_is_what_was_checked(signed_bundle: Path, tiny_bundle: Path) -> None:
    unsigned = verdict(receipt(tiny_bundle), "Who signed")
    assert (unsigned.answer, unsigned.tone) == ("Unsigned", "warning")
    unchecked = verdict(receipt(signed_bundle), "Who signed")
    assert (unchecked.answer, unchecked.tone) == ("Signed, signer not checked", "warning")
    keys = signed_bundle.parent / "keys"
    checked = verdict(receipt(signed_bundle, keys), "Who signed")
    assert (checked.answer, checked.tone) == ("test", "good")
    assert load_trusted(keys)[0].id in checked.detail


def test_verdicts_of_what_ships_and_what_does_not(humanoid: Path) -> None:
    shown = receipt(humanoid)
    assert verdict(shown, "Is it").answer == "Yes, in FP32"
    ships = verdict(shown, "What ships")
    assert (ships.answer, ships.tone) == ("FP32, INT8 (FP32 body)", "warning")
    assert "INT8 (FP16 body) does not: joint right_wrist_yaw_joint at 134% of its tolerance" in ships.detail
    assert ships.detail.endswith("For a Jetson: FP32 only.")
    worst = verdict(shown, "Worst dimension in INT8 (FP32 body)")
    assert (worst.answer, worst.tone) == ("right_wrist_yaw_joint: 90.7 % of tolerance", "good")
    assert "Mean error 0.0475 rad, tolerance 0.0524 rad" in worst.detail
    assert verdict(shown, "Worst dimension in INT8 (FP16 body)").tone == "warning"


def test_a_graph_that_was_forced_over_its_tolerance_is_a_fault(altered: Alter) -> None:
    def force(m: dict[str, Any]) -> None:
        m["precision"][0]["error"]["mean"][5] = 0.08
        m["precision"][0]["tolerance_share"] = 1.6

    shown = receipt(altered(force))
    assert verdict(shown, "What ships").tone == "bad"
    assert verdict(shown, "Worst dimension").answer == "yaw: 160.0 % of tolerance"
    assert verdict(shown, "Worst dimension").tone == "bad"


def test_parity_that_is_lost_is_a_fault(altered: Alter) -> None:
    def lose(m: dict[str, Any]) -> None:
        m["parity"]["max"][2] = 0.1

    found = verdict(receipt(altered(lose)), "Is it")
    assert (found.answer, found.tone) == ("No: FP32 differs", "bad")
    assert "0.100 m/s (z)" in found.detail


def test_a_dimension_that_stood_still_is_not_judged(altered: Alter) -> None:
    def stand_still(m: dict[str, Any]) -> None:
        m["precision"][0]["error"]["mean"][0] = 4 * m["precision"][0]["tolerance"][0]
        m["golden"]["moving"][0] = False

    shown = receipt(altered(stand_still))
    assert "400.0 %, not judged" in list(said(shown))
    assert verdict(shown, "Worst dimension").tone == "good"


def test_errors_that_are_no_numbers_are_never_within_tolerance(altered: Alter) -> None:
    def spoil(m: dict[str, Any]) -> None:
        m["precision"][0]["error"]["mean"][1] = math.nan
        m["precision"][0]["tolerance_share"] = math.nan
        m["parity"]["max"][0] = math.inf

    shown = receipt(altered(spoil))
    assert verdict(shown, "Worst dimension").answer == "y: not finite"
    assert [v.tone for v in shown.verdicts[:3]] == ["bad", "bad", "bad"]
    assert "nan %" in Page(page_of(shown)).text
    assert on_terminal(shown, 80)


def test_a_policy_without_language_calibration_or_other_precisions(altered: Alter) -> None:
    def strip(m: dict[str, Any]) -> None:
        m["text"] = m["calibration"] = None
        m["precision"] = []
        del m["graphs"]["step.int8-fp32"], m["golden"]["tolerance"]["int8-fp32"]

    shown = receipt(altered(strip))
    assert verdict(shown, "What ships").answer == "FP32"
    facts = [(name, words(cell)) for section in shown.sections for name, cell in section.facts]
    assert ("Instruction", "none") in facts
    assert ("Ranges", "none: no graph in INT8 was tried") in facts
    assert Page(page_of(shown))


def test_a_graph_that_is_no_onnx_model_is_named(altered: Alter) -> None:
    def nothing(m: dict[str, Any]) -> None:
        del m["files"]["step.fp32.onnx"]
        m["files"]["step.fp32.onnx"] = {"sha256": "0" * 64, "size": 0}

    bundle = altered(nothing)
    (bundle / "step.fp32.onnx").write_bytes(b"\x3a\xff\x7fnot a model")
    manifest = json.loads((bundle / MANIFEST).read_bytes())
    manifest["files"]["step.fp32.onnx"] = digest_file(bundle / "step.fp32.onnx").model_dump()
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"step\.fp32\.onnx is not an ONNX model"):
        receipt(bundle)


def test_names_steer_neither_terminal_nor_page(altered: Alter) -> None:
    attack = "\x1b]0;mine\x07[/bold]\u202e<script>alert(1)</script>\n"

    def rename(m: dict[str, Any]) -> None:
        m["name"] = m["family"] = m["precision"][0]["reason"] = attack
        m["action"]["dimensions"][0]["name"] = m["cameras"][0]["name"] = attack
        m["state"] = [attack]
        m["builder"] = {attack: attack}

    shown = receipt(altered(rename))
    spelt = r"\x1b]0;mine\x07[/bold]\u202e<script>alert(1)</script>\n"
    page = Page(page_of(shown))
    assert page.text.count(spelt) >= 8
    assert "script" not in page.tags
    terminal = "".join(on_terminal(shown, 200))
    assert terminal.count(spelt) >= 8
    assert "\x1b" not in terminal
    assert "\u202e" not in terminal + page.text
