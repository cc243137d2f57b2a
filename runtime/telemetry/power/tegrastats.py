"""NVIDIA's ``tegrastats`` as a child process."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

from jetvla.runtime.clock import NS_PER_S, Clock, seconds_to_ns
from jetvla.runtime.errors import TelemetryError
from jetvla.runtime.telemetry.power.reading import Reading
from jetvla.runtime.telemetry.power.tegrastats_line import parse_line
from jetvla.runtime.telemetry.power.throttling import read_throttling

PROGRAM = Path("usr/bin/tegrastats")
_SILENT_S = 1.0
_END_S = 2.0
_SAID = 200


class Tegrastats:
    """The newest line of ``tegrastats``, which is read in a thread.

    A child of a process that was killed ends by itself: its next line has no reader.

    Attributes:
        broken: lines that were none of tegrastats', or were cut off.
    """

    name = "tegrastats"

    def __init__(self, program: Path, interval_s: float, clock: Clock, root: Path) -> None:
        self._clock, self._root = clock, root
        self._silent_ns = seconds_to_ns(2 * interval_s + _SILENT_S)
        self._newest: Reading | None = None
        self.broken, self._said = 0, ""
        command = [str(program), "--interval", str(max(1, round(1000 * interval_s)))]
        self._child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
        )
        self._thread = threading.Thread(target=self._work, name="tegrastats", daemon=True)
        self._thread.start()

    @property
    def measures_power(self) -> bool:
        """Whether it lives."""
        return self._child.poll() is None

    def read(self) -> Reading:
        """The newest line, if tegrastats lives and is not silent."""
        newest, now_ns = self._newest, self._clock.now_ns()
        if (status := self._child.poll()) is not None:
            return self._nothing(f"tegrastats ended with status {status}: {self._said or 'it said nothing'}")
        if newest is None:
            return self._nothing("tegrastats has not written a line yet")
        if (silence_ns := now_ns - newest.t_ns) > self._silent_ns:
            return self._nothing(f"tegrastats has been silent for {silence_ns / NS_PER_S:.1f} s")
        return replace(newest, throttling=read_throttling(self._root))

    def close(self) -> None:
        """End the child."""
        self._child.terminate()
        try:
            self._child.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._thread.join(_END_S)

    def _work(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout as lines:
            for line in lines:
                self._take(line)

    def _take(self, line: str) -> None:
        reading = parse_line(line, self._clock.now_ns()) if line.endswith("\n") else None
        if reading is not None:
            self._newest = reading
            return
        self.broken += 1
        self._said = line.strip()[:_SAID]

    def _nothing(self, note: str) -> Reading:
        return Reading(self._clock.now_ns(), self.name, throttling=read_throttling(self._root), note=note)


def open_source(interval_s: float, clock: Clock, root: Path) -> Tegrastats:
    """Start tegrastats; TelemetryError if it is not there or cannot be started."""
    program = root / PROGRAM
    if not os.access(program, os.X_OK):
        raise TelemetryError(f"there is no {program}, which comes with Jetson Linux (package nvidia-l4t-tools)")
    try:
        return Tegrastats(program, interval_s, clock, root)
    except OSError as error:
        raise TelemetryError(f"{program} cannot be started: {error.strerror}") from error
