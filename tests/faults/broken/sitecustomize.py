"""Breaks the engine of the real policy: with this folder in PYTHONPATH, as the file JETVLA_TEST_BROKEN says by then."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

BROKEN = "JETVLA_TEST_BROKEN"
# Ten times the time between two chunks of the tiny bundle.
SLOW_S = 1.0
# Made beside the order as soon as the engine hangs.
HANGS = "hangs"


def _break(order: Path) -> None:
    from jetvla.runtime.backends.base import Engine

    real = Engine.infer

    def infer(self: Any, *arguments: Any, **keywords: Any) -> Any:
        result = real(self, *arguments, **keywords)
        manner = order.read_text() if order.exists() else ""
        if manner == "slow":
            time.sleep(SLOW_S)
        if manner == "hangs":
            order.with_name(HANGS).touch()
            time.sleep(600)
        if manner == "nan":
            result = {name: array * float("nan") for name, array in result.items()}
        return result

    Engine.infer = infer  # type: ignore[method-assign]


if (path := os.environ.get(BROKEN)) and any("policy_daemon" in word for word in sys.orig_argv):
    _break(Path(path))
