"""Commands as JSON lines, for trials without a robot."""

from __future__ import annotations

import json

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.contracts import Command
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.robot_config import LogOutput


class LogSink:
    """Writes ``{"t_ns", "seq", "values"}`` a line; values by dimension name."""

    def __init__(self, config: LogOutput, spec: ActionSpec) -> None:
        self.dimensions = spec.names
        try:
            config.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = config.path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise ConfigError(f"guard.outputs: cannot write {config.path}: {error.strerror}") from error

    def publish(self, command: Command) -> None:
        values = dict(zip(self.dimensions, command.values.tolist(), strict=True))
        self._file.write(json.dumps({"t_ns": command.t_ns, "seq": command.seq, "values": values}) + "\n")

    def stay_alive(self) -> None:
        """A file has nobody to tell."""

    def peer_problems(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        self._file.close()


def open_sink(config: LogOutput, spec: ActionSpec, session: object, period_s: float) -> LogSink:
    """See :func:`jetvla.runtime.sinks.open_sink`."""
    return LogSink(config, spec)
