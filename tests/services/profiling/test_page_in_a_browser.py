"""The page of a profile in a real headless Chromium."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jetvla.services.profiling.budget import Budget, StageBudget
from jetvla.services.profiling.page import page_of
from jetvla.services.profiling.record import Frames, Profile

from ..browser import DESK, PHONE, Browser, needs_chromium, require_silence
from .conftest import profile_of

pytestmark = needs_chromium

Make = Callable[..., Profile]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Over its budget in the step, and with a former profile in which the step took 20 ms less."""
    slow = profile_of({"step": 21.5}, seed=1)
    budget = Budget(step=StageBudget(p50_ms=5.0), age=StageBudget(max_ms=1000.0))
    text = page_of(replace(slow, budget=budget.judge(slow.stages, {})), profile_of())
    return written(tmp_path_factory.mktemp("page"), text)


def written(folder: Path, text: str) -> Path:
    (folder / "profile.html").write_text(text, encoding="utf-8")
    return folder / "profile.html"


@pytest.mark.parametrize("window", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_it_fits_is_drawn_and_asks_for_nothing(
    browser: Browser, page: Path, window: tuple[int, int, bool], colours: str
) -> None:
    browser.show(page, *window, colours)
    assert browser.evaluate("document.documentElement.scrollWidth") <= window[0]
    require_silence(browser, page)
    picture = browser.picture()
    paper = np.median(picture)
    assert paper > 200 if colours == "light" else paper < 60
    assert (np.abs(picture.astype(int) - paper) > 100).any(axis=2).mean() > 0.01


def test_age_budget_and_comparison_come_first(browser: Browser, page: Path, make_profile: Make) -> None:
    browser.show(page, *PHONE)
    told = browser.evaluate("[...document.querySelectorAll('article')].map(e => e.innerText).join('\\n')")
    age = make_profile({"step": 21.5}, seed=1).stages["age"]
    assert f"{age.p50:.2f} ms, p99 {age.p99:.2f} ms" in told
    assert "No: step" in told
    assert "Slower: step, age" in told


def test_the_waterfall_stands_in_the_order_of_time(browser: Browser, page: Path) -> None:
    browser.show(page, *DESK)
    median = browser.evaluate(
        "[...document.querySelector('.waterfall').querySelectorAll('tbody tr')].map(r => { const bar = "
        "r.querySelector('.fill').getBoundingClientRect(); return [r.cells[0].innerText, bar.left, bar.width]; })"
    )
    assert [name for name, _, _ in median] == ["capture", "preprocess", "step", "link", "guard", "publish", "age"]
    lefts = [left for _, left, _ in median[:-1]]
    assert lefts == sorted(lefts)
    assert max(median[:-1], key=lambda row: row[2])[0] == "step"


def test_an_outlier_tells_its_time_and_stages_when_it_is_pointed_at(browser: Browser, page: Path) -> None:
    browser.show(page, *DESK)
    place = browser.evaluate(
        "(() => { const c = document.querySelector('.timeline circle:last-of-type');"
        " c.scrollIntoView({block: 'center', behavior: 'instant'});"
        " const b = c.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    assert browser.evaluate("document.querySelector('.tip').hidden")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    text = browser.evaluate("document.querySelector('.tip').hidden ? '' : document.querySelector('.tip').innerText")
    assert " s: capture " in text
    assert "step 2" in text
    assert "age " in text
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert browser.evaluate("document.querySelector('.tip').hidden")


def test_without_its_script_everything_is_still_there(browser: Browser, page: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.show(page, *DESK)
        # What the tester evaluates runs all the same.
        assert browser.evaluate("document.querySelectorAll('.timeline circle > title').length") == 40
        assert browser.evaluate("document.querySelectorAll('.spread path.now').length") > 5
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_a_name_that_is_a_script_does_not_run(browser: Browser, tmp_path: Path, make_profile: Make) -> None:
    attack = "</style></title><script>document.title = 'ran'</script><img src=x onerror=\"document.title='ran'\">"
    profile = make_profile(policy=attack, setting={"instruction": attack, attack: attack}, stops={attack: 1})
    page = written(tmp_path, page_of(profile))
    browser.show(page, *PHONE)
    assert browser.evaluate("document.title") == f"{attack}: profile"
    assert browser.evaluate("document.scripts.length + document.images.length") == 1
    require_silence(browser, page)


@pytest.mark.parametrize("mode", ["engine", "attached"])
def test_what_has_no_frames_has_a_page_too(browser: Browser, tmp_path: Path, make_profile: Make, mode: str) -> None:
    made = make_profile(mode=mode, frames=Frames((), {}), cold_start=(), memory=(), engine=None)
    stages = {"step": made.stages["step"]} if mode == "engine" else {"guard": made.stages["guard"]}
    page = written(tmp_path, page_of(replace(made, stages=stages)))
    browser.show(page, *PHONE)
    require_silence(browser, page)
    assert browser.evaluate("document.querySelector('#waterfall')") is None
    told = browser.evaluate("document.querySelector('article').innerText")
    assert "Not known" in told if mode == "attached" else f"{stages['step'].p50:.2f} ms" in told
