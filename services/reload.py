"""Reloading the configuration of running daemons: ``python -m jetvla.services.reload --config FILE --pid PID``.

The file is checked before the daemon is told, so that a mistake is an error of ``systemctl reload`` and changes
nothing. Only what :data:`LIVE` names is taken over; all else needs a restart, and the daemon's log names it. An armed
robot's configuration stays as it is.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import ConfigError, JetvlaError
from jetvla.runtime.guard.arming import State
from jetvla.runtime.telemetry.status import read_status

LIVE = ("instruction.max_chars", "instruction.stop_words", "policy.rate_hz")
_MOVING = (State.ARMED.value, State.STOPPING.value)

log = logging.getLogger("jetvla.reload")


def moving(config: Config) -> bool:
    """Whether the guard last reported that the robot may move; without a report it may not."""
    try:
        return read_status(config.status).state in _MOVING
    except (JetvlaError, OSError):
        return False


def changed(old: Config, new: Config) -> tuple[str, ...]:
    """Dotted keys that differ, sorted; a list is one value."""
    before, after = (dict(_leaves(config.model_dump(mode="json"))) for config in (old, new))
    return tuple(sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key)))


def taken_over(old: Config, new: Config) -> Config:
    """``old`` with what is :data:`LIVE` of ``new``."""
    instruction = {"max_chars": new.instruction.max_chars, "stop_words": new.instruction.stop_words}
    return old.model_copy(
        update={
            "instruction": old.instruction.model_copy(update=instruction),
            "policy": old.policy.model_copy(update={"rate_hz": new.policy.rate_hz}),
        }
    )


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, part in value.items():
        yield from _leaves(part, f"{key}.{name}" if key else name)


class Reloader:
    """Reads the file again at SIGHUP, in a thread of its own, and keeps what came out until it is taken.

    Args:
        path: the configuration file.
        running: what runs now.
        began, ended: called in that thread around each reload, whatever comes of it.
    """

    def __init__(self, path: Path, running: Config, began: Callable[[], None], ended: Callable[[], None]) -> None:
        self._path, self._running = path, running
        self._began, self._ended = began, ended
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._found: SimpleQueue[Config] = SimpleQueue()
        threading.Thread(target=self._work, name="reload", daemon=True).start()
        signal.signal(signal.SIGHUP, lambda *_: self._asked.put(True))

    def take(self) -> Config | None:
        """The configuration to go on with, once for each reload that changed something; else None."""
        return None if self._found.empty() else self._found.get()

    def _work(self) -> None:
        while self._asked.get():
            self._began()
            try:
                self._read()
            except JetvlaError as error:
                log.error("not reloaded, the former configuration holds: %s", error)
            finally:
                self._ended()

    def _read(self) -> None:
        new = load_config(self._path)
        if moving(self._running):
            raise ConfigError("the robot is armed; disarm it first, with 'jetvla disarm'")
        keys = changed(self._running, new)
        self._running = taken_over(self._running, new)
        live = [key for key in keys if key in LIVE]
        log.info("reloaded: %s", ", ".join(live) or "nothing that can change while it runs")
        if later := [key for key in keys if key not in LIVE]:
            log.warning("changed too, but only a restart takes it over: %s", ", ".join(later))
        if live:
            self._found.put(self._running)


def main(argv: Sequence[str] | None = None) -> int:
    """0 once the daemon has been told; 1 if the file is wrong or the robot is armed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--pid", type=int, required=True)
    arguments = parser.parse_args(argv)
    try:
        if moving(load_config(arguments.config)):
            raise ConfigError("the robot is armed; disarm it first, with 'jetvla disarm'")
    except JetvlaError as error:
        print(f"not reloaded, the former configuration holds: {error}", file=sys.stderr)
        return 1
    os.kill(arguments.pid, signal.SIGHUP)
    return 0


if __name__ == "__main__":
    sys.exit(main())
