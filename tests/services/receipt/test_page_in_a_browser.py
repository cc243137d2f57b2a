"""The page in a real headless Chromium: on a phone, on a desk, by night and on paper."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from jetvla.runtime.bundle import Bundle
from jetvla.services.receipt import receipt_of
from jetvla.services.receipt.page import page_of

CHROMIUM = shutil.which("chromium")
QUIET = ("background-networking", "component-update", "default-apps", "extensions", "gpu", "quic", "sync")
PHONE, DESK = (390, 844, True), (1280, 900, False)
# Only for a browser that would otherwise hang; nothing here measures speed.
PATIENCE_S = "120"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


class Browser:
    """One tab, driven by the DevTools protocol (chromedevtools.github.io) through a pair of pipes.

    Attributes:
        events: every event that was received, oldest first.
    """

    def __init__(self, profile: Path) -> None:
        commands, self._send = os.pipe()
        receive, answers = os.pipe()
        switches = ["--headless", "--no-sandbox", "--no-first-run", "--remote-debugging-pipe"]
        switches += [f"--disable-{feature}" for feature in QUIET] + [f"--user-data-dir={profile}", "about:blank"]
        # The browser reads from descriptor 3 and writes to 4.
        script = f'exec timeout {PATIENCE_S} "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", str(CHROMIUM), *switches],
            pass_fds=(commands, answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._receive = os.fdopen(receive, "rb")
        self._session: str | None = None
        self._count, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Result of one command."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def show(self, page: Path, width: int, height: int, mobile: bool, colours: str = "light") -> None:
        """Load ``page`` in a window of ``width`` by ``height`` CSS pixels; forgets all events before."""
        self.events.clear()
        size = {"width": width, "height": height, "mobile": mobile, "deviceScaleFactor": 1}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])
        self.call("Page.navigate", url=page.as_uri())
        while "Page.loadEventFired" not in [event.get("method") for event in self.events]:
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def picture(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3]: what the window shows."""
        png = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def of(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") in methods]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._receive.close()
        os.close(self._send)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._receive.fileno(), 1 << 16)
            assert piece, "Chromium ended"
            self._rest += piece
        message, self._rest = self._rest.split(b"\0", 1)
        decoded: dict[str, Any] = json.loads(message)
        return decoded


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    running = Browser(tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.fixture
def page(humanoid: Path) -> Path:
    return written(humanoid)


def written(bundle: Path) -> Path:
    path = bundle.with_name("receipt.html")
    path.write_text(page_of(receipt_of(Bundle.open(bundle, None))), encoding="utf-8")
    return path


def require_silence(browser: Browser, page: Path) -> None:
    """Nothing but the page itself was asked for, and nothing was complained of."""
    asked = {event["request"]["url"] for event in browser.of("Network.requestWillBeSent")}
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
    assert browser.of("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled") == []


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
