"""Numbers and names as people read them."""

from __future__ import annotations

import math

import pytest

from jetvla.services.receipt.wording import listed, number, percent, printable, size


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (1.0, "1.00"), (123.4, "123"), (0.05236, "0.0524"), (2.5e-8, "2.50e-08"), (math.nan, "nan")],
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.0 %"), (0.278, "27.8 %"), (1.9, "190.0 %"), (5e-7, "<0.1 %"), (1e-3, "0.1 %"), (math.inf, "inf %")],
)
def test_shares_are_per_cent(value: float, shown: str) -> None:
    assert percent(value) == shown


def test_sizes_are_decimal() -> None:
    assert (size(999), size(61_700), size(394_000_000)) == ("1.0 kB", "61.7 kB", "394.0 MB")


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ((), "none"),
        (("a", "b"), "2: a, b"),
        (tuple(f"e_{i}" for i in range(8, 12)), "4: e_8 to e_11"),
        (("e_07.h5", "e_08.h5", "e_09.h5", "e_10.h5", "x"), "5: e_07.h5 to e_10.h5, x"),
        # Two are not worth a stretch, and these do not follow each other as they are written.
        (("e1", "e2"), "2: e1, e2"),
        (("e9", "e010", "e011"), "3: e9, e010, e011"),
        (("e1", "e3", "e4", "e5"), "4: e1, e3 to e5"),
    ],
)
def test_a_stretch_of_names_is_told_by_its_ends(names: tuple[str, ...], shown: str) -> None:
    assert listed(names) == shown


def test_control_characters_are_spelt_out() -> None:
    assert printable("é ✓ \x1b[2J\u202e\x00") == "é ✓ \\x1b[2J\\u202e\\x00"
