"""The guard's outputs: every configured sink as one."""

from __future__ import annotations

from contextlib import ExitStack

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.config import Config
from jetvla.runtime.contracts import Command
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.sinks import CommandSink, open_sink


class Outputs:
    """Sends commands to all sinks, as long as they are open."""

    def __init__(self) -> None:
        self._sinks: tuple[CommandSink, ...] = ()
        self._resources = ExitStack()

    def open(self, config: Config, spec: ActionSpec, session: RosSession | None) -> None:
        """Open every output of ``config``, or none.

        Raises:
            ConfigError: if the action has not the dimensions that an output sends, or one cannot be opened.
        """
        with ExitStack() as resources:
            sinks = []
            for output in config.guard.outputs:
                sinks.append(open_sink(output, spec, session, 1 / config.guard.rate_hz))
                resources.callback(sinks[-1].close)
            self._sinks, self._resources = tuple(sinks), resources.pop_all()

    def close(self) -> None:
        """Close every sink; nothing to do if none is open."""
        self._sinks = ()
        self._resources.close()

    def unsent(self, spec: ActionSpec) -> list[str]:
        """Action dimensions that no output takes."""
        sent = {name for sink in self._sinks for name in sink.dimensions}
        return [name for name in spec.names if name not in sent]

    def problems(self) -> list[str]:
        """Why nobody, or somebody else, moves the robot; empty if all is well."""
        if not self._sinks:
            return ["no output is open"]
        return [problem for sink in self._sinks for problem in sink.peer_problems()]

    def send(self, command: Command) -> None:
        """Publish ``command`` on every sink. One that fails gets no more, and the others go on.

        Raises:
            Exception: the error of the last sink that failed, after all others have the command.
        """
        # Every callback is called, whatever another raises.
        with ExitStack() as all_of_them:
            for sink in reversed(self._sinks):
                all_of_them.callback(self._publish, sink, command)

    def _publish(self, sink: CommandSink, command: Command) -> None:
        try:
            sink.publish(command)
        except BaseException:
            self._sinks = tuple(one for one in self._sinks if one is not sink)
            raise

    def stay_alive(self) -> None:
        """Say that the guard lives, while there is no command."""
        for sink in self._sinks:
            sink.stay_alive()
