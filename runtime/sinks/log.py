"""Commands as JSON lines, for trials without a robot."""

from __future__ import annotations

import json
import logging

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.contracts import Command
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.robot_config import LogOutput

log = logging.getLogger(__name__)


class LogSink:
    """Writes ``{"t_ns", "seq", "values"}`` a line; values by dimension name.

    A file moves no robot, so that one that cannot be written, on a full disk, stops none: its lines are missing.
    """

    def __init__(self, config: LogOutput, spec: ActionSpec) -> None:
        self.dimensions = spec.names
        try:
            config.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = config.path.open("ab", buffering=0)
        except OSError as error:
            raise ConfigError(f"guard.outputs: cannot write {config.path}: {error.strerror}") from error
        self._missing, self._cut = False, False

    def publish(self, command: Command) -> None:
        values = dict(zip(self.dimensions, command.values.tolist(), strict=True))
        line = json.dumps({"t_ns": command.t_ns, "seq": command.seq, "values": values}).encode() + b"\n"
        if self._cut:
            line = b"\n" + line
        try:
            whole = self._file.write(line) == len(line)
        except OSError as error:
            self._lost(error.strerror or "not written")
            return
        self._cut = not whole
        if self._cut:
            self._lost("a line was cut short")
        elif self._missing:
            log.warning("%s: commands are written again", self._file.name)
            self._missing = False

    def _lost(self, why: str) -> None:
        if not self._missing:
            log.warning("%s: %s; commands are missing there from now on", self._file.name, why)
        self._missing = True

    def stay_alive(self) -> None:
        """A file has nobody to tell."""

    def peer_problems(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        self._file.close()


def open_sink(config: LogOutput, spec: ActionSpec, session: object, period_s: float) -> LogSink:
    """See :func:`jetvla.runtime.sinks.open_sink`."""
    return LogSink(config, spec)
