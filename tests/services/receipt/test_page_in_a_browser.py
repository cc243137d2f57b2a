"""The page in a real headless Chromium: on a phone, on a desk, by night and on paper."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetvla.runtime.bundle import Bundle
from jetvla.services.receipt import receipt_of
from jetvla.services.receipt.page import page_of

from ..browser import DESK, PHONE, Browser, needs_chromium, require_silence

pytestmark = needs_chromium


@pytest.fixture
def page(humanoid: Path) -> Path:
    return written(humanoid)


def written(bundle: Path) -> Path:
    path = bundle.with_name("receipt.html")
    path.write_text(page_of(receipt_of(Bundle.open(bundle, None))), encoding="utf-8")
    return path


@pytest.mark.parametrize("window", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_page_fits_is_drawn_and_asks_for_nothing(
    browser: Browser, page: Path, window: tuple[int, int, bool], colours: str
) -> None:
    browser.show(page, *window, colours)
    assert browser.evaluate("innerWidth") == window[0]
    assert browser.evaluate("document.documentElement.scrollWidth") <= window[0]
    require_silence(browser, page)
    picture = browser.picture()
    assert picture.shape[:2] == (window[1], window[0])
    # Paper is bright or dark as asked, and there is writing on it.
    paper = np.median(picture)
    assert paper > 200 if colours == "light" else paper < 60
    assert (np.abs(picture.astype(int) - paper) > 100).any(axis=2).mean() > 0.01


def test_a_phone_shows_verdicts_first_and_bars_without_scrolling_sideways(browser: Browser, page: Path) -> None:
    browser.show(page, *PHONE)
    top = browser.evaluate("Math.max(...[...document.querySelectorAll('article')].map(e => e.offsetTop))")
    assert top < browser.evaluate("document.querySelector('main').offsetTop")
    ends = browser.evaluate(
        "[...document.querySelectorAll('tr > :nth-child(2) .bar svg')].map(e => e.getBoundingClientRect().right)"
    )
    assert len(ends) > 50
    assert max(ends) <= PHONE[0]


def test_a_name_that_is_a_script_does_not_run(browser: Browser, altered: Callable[..., Path]) -> None:
    attack = "</style></title><script>document.title = 'ran'</script><img src=x onerror=\"document.title='ran'\">"

    def change(m: dict[str, Any]) -> None:
        m["name"] = m["family"] = m["cameras"][0]["name"] = m["precision"][0]["reason"] = attack
        m["action"]["dimensions"][0]["name"] = m["action"]["dimensions"][0]["frame"] = attack
        m["builder"] = {attack: attack}

    page = written(altered(change))
    browser.show(page, *PHONE)
    assert browser.evaluate("document.title") == f"{attack}: receipt"
    assert browser.evaluate("document.querySelector('h1').textContent") == attack
    assert browser.evaluate("document.scripts.length + document.images.length") == 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    require_silence(browser, page)


def test_it_prints_on_paper(browser: Browser, page: Path) -> None:
    browser.show(page, *DESK, "dark")
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    paper = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    browser.call("Emulation.setEmulatedMedia", media="")
    assert paper.startswith(b"%PDF-")
    assert len(paper) > 10_000
