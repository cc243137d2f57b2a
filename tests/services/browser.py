"""A real headless Chromium, for tests of pages."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

CHROMIUM = shutil.which("chromium")
QUIET = ("background-networking", "component-update", "default-apps", "extensions", "gpu", "quic", "sync")
PHONE, DESK = (390, 844, True), (1280, 900, False)
# Only for a browser that would otherwise hang; nothing here measures speed.
PATIENCE_S = "600"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


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


def require_silence(browser: Browser, page: Path) -> None:
    """Nothing but the page itself was asked for, and nothing was complained of."""
    asked = {event["request"]["url"] for event in browser.of("Network.requestWillBeSent")}
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
    assert browser.of("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled") == []
