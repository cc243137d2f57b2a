"""From an MCAP file of :mod:`jetvla.services.recording.recorder` to the calls of the guard."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import JetvlaError, MissingDependency
from jetvla.runtime.guard.core import Guard
from jetvla.services.recording.calls import ACTS, SNAPSHOT, TICK, Call
from jetvla.services.recording.guard import noted_methods
from jetvla.services.recording.recorder import METADATA, VERSION
from jetvla.services.recording.topics import AT, COMMAND, EARLIER, EVENT, FRAME, REFUSED, method_of, topic_of
from jetvla.services.recording.values import hints_of, rebuild

_DERIVED = (EVENT, FRAME)


@dataclass(frozen=True, slots=True, eq=False)
class Ticked:
    """What a tick was seen to do: the state after it, and float64 [D] if a command was published."""

    state: str
    command: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where the guard was when the recording began, or went on after a gap of ``lost`` calls."""

    ticks: int
    state: str
    command: NDArray[np.float64] | None
    lost: int


class Recording:
    """A file that has been read once, so that what :meth:`calls` gives is all there.

    Attributes:
        setup: arguments of :class:`Guard`, without the clock.
        wall_ns: to be added to the robot's time for the wall clock's.

    Raises:
        JetvlaError: the file is no recording, is cut short, or is damaged.
        MissingDependency: mcap is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hints = {name: hints_of(getattr(Guard, name)) for name in noted_methods()}
        metadata: dict[str, str] = {}
        for topic, content in self._contents():
            if topic == "":
                metadata = content
        if metadata.get("version") != VERSION:
            raise JetvlaError(f"{path} is not a recording of this version of jetvla; make one with 'jetvla record'")
        hints = hints_of(Guard.__init__)
        setup = json.loads(metadata["setup"])
        self.setup: dict[str, Any] = self._checked(lambda: {n: rebuild(hints[n], v) for n, v in setup.items()})
        self.wall_ns = int(metadata["wall_minus_monotonic_ns"])

    def calls(self) -> Iterator[Call]:
        """Every call in order. A snapshot is a call of that name; the result of a tick is a :class:`Ticked`."""
        command = None
        for topic, body in self._contents():
            if topic == COMMAND:
                command = _values(body)
            elif topic == topic_of(TICK):
                yield Call(TICK, body[AT], result=Ticked(body["state"], command))
                command = None
            elif topic == topic_of(SNAPSHOT):
                snapshot = Snapshot(body["ticks"], body["state"], _values(body), body["lost"])
                yield Call(SNAPSHOT, body[AT], result=snapshot)
            elif topic and topic not in _DERIVED:
                yield self._checked(self._call, topic, body)

    def _call(self, topic: str, body: dict[str, Any]) -> Call:
        name = method_of(topic)
        hints = {n: h for n, h in self._hints[name].items() if n != "return"}
        arguments = {n: rebuild(hint, body.get(n)) for n, hint in hints.items()}
        result = tuple(body[REFUSED]) if name in ACTS else None
        return Call(name, body[AT], arguments, result, body[EARLIER])

    def _checked(self, build: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return build(*arguments)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise JetvlaError(f"{self._path} was made by another version of jetvla: {error!r}") from error

    def _contents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            with self._path.open("rb") as stream:
                yield from _read(stream)
        except OSError as error:
            raise JetvlaError(f"{self._path}: cannot be read: {error.strerror}") from error
        except _Damage as error:
            raise JetvlaError(
                f"{self._path} is cut short or damaged ({error}): the recorder was killed, or its disk was full; "
                "record again, or save what is there with 'mcap recover'"
            ) from error


class _Damage(Exception):
    """The file is not whole."""


def _read(stream: IO[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Topic and body of every message in the order of the file, checksums verified; the metadata has no topic."""
    try:
        import zstandard
        from mcap.exceptions import McapError
        from mcap.records import Channel, Message, Metadata
        from mcap.stream_reader import StreamReader
    except ImportError:
        raise MissingDependency("mcap", "replaying", "pip install 'jetvla[record]'") from None
    topics: dict[int, str] = {}
    try:
        for record in StreamReader(stream, validate_crcs=True).records:
            if isinstance(record, Channel):
                topics[record.id] = record.topic
            elif isinstance(record, Message):
                yield topics[record.channel_id], json.loads(record.data)
            elif isinstance(record, Metadata) and record.name == METADATA:
                yield "", record.metadata
    except (McapError, zstandard.ZstdError, struct.error, ValueError) as error:
        raise _Damage(str(error) or type(error).__name__) from error


def _values(body: dict[str, Any]) -> NDArray[np.float64] | None:
    return None if "values" not in body else np.array([float(v) for v in body["values"].values()])
