"""From the tap of a running guard to an MCAP file."""

from __future__ import annotations

import json
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from jetvla.runtime.errors import JetvlaError, MissingDependency
from jetvla.runtime.link.client import limit_waiting
from jetvla.services.recording.calls import SETUP, SNAPSHOT, unpack
from jetvla.services.recording.tap import MAX_PACKET
from jetvla.services.recording.topics import Message, Messages, schemas

if TYPE_CHECKING:
    from mcap.writer import Writer

METADATA = "jetvla"
VERSION = "1"
_PATIENCE_S = 2.0
_TURN_S = 0.2


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is in a file.

    Attributes:
        counts: messages by topic.
        lost: calls that the guard could not hand over in time.
        armed: the robot was armed meanwhile, so there is something to replay.
        ended: the guard ended first.
    """

    counts: dict[str, int]
    lost: int
    armed: bool
    ended: bool


def record(tap: Path, file: Path, until: Callable[[], bool]) -> Recorded:
    """Record from ``tap`` into ``file`` until ``until()`` or the end of the guard.

    Raises:
        JetvlaError: there is no guard, it refuses, or the file cannot be written.
        MissingDependency: mcap is not installed.
    """
    _need_mcap()
    with connect(tap) as source:
        setup = _next(source, _PATIENCE_S)
        if not setup or setup["name"] != SETUP:
            raise JetvlaError(
                f"the guard at {tap} sent this recorder away; its log says why (another one, or your user)"
            )
        try:
            with file.open("xb") as stream, _Recording(stream, setup) as recording:
                while not until():
                    packet = _next(source, _TURN_S)
                    if packet == {}:
                        return recording.summary(ended=True)
                    if packet is not None:
                        recording.take(packet)
                return recording.summary(ended=False)
        except FileExistsError:
            raise JetvlaError(f"{file} is there already; name another file") from None
        except OSError as error:
            raise JetvlaError(f"cannot write {file}: {error.strerror}; what is in it is not whole") from error


def connect(tap: Path) -> socket.socket:
    """The socket of the guard that runs; JetvlaError if none does."""
    source = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # A guard that hangs lets in as many as its queue holds; the next one waits.
        limit_waiting(source, _PATIENCE_S)
        source.connect(str(tap))
    except PermissionError:
        source.close()
        raise JetvlaError(f"you may not read {tap}; record as root or as the guard's own user") from None
    except OSError as error:
        source.close()
        raise JetvlaError(f"no guard answers at {tap} ({error.strerror}); start it with 'jetvla run'") from None
    return source


def _next(source: socket.socket, patience_s: float) -> dict[str, Any] | None:
    """The next packet; empty at the end of the guard, None if nothing came in time."""
    if not select.select([source], [], [], patience_s)[0]:
        return None
    try:
        packet = source.recv(MAX_PACKET)
    except ConnectionError:
        packet = b""
    return unpack(packet) if packet else {}


def _need_mcap() -> None:
    try:
        import mcap.writer  # noqa: F401
    except ImportError:
        raise MissingDependency("mcap", "recording", "pip install 'jetvla[record]'") from None


class _Recording:
    """An open file. Times in it are the robot's monotonic ones, moved to the wall clock of when it began."""

    def __init__(self, stream: IO[bytes], setup: dict[str, Any]) -> None:
        from mcap.writer import Writer

        names = tuple(d["name"] for d in setup["arguments"]["spec"]["dimensions"])
        self._messages, self._schemas = Messages(names), schemas(names)
        self._wall_ns = time.time_ns() - time.monotonic_ns()
        self._newest_ns = time.monotonic_ns()
        self._channels: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._lost, self._armed = 0, False
        self._writer: Writer = Writer(stream)
        self._writer.start(profile="", library="jetvla")
        self._writer.add_metadata(
            METADATA,
            {
                "version": VERSION,
                "setup": json.dumps(setup["arguments"]),
                "config": setup["config"],
                "wall_minus_monotonic_ns": str(self._wall_ns),
            },
        )

    def take(self, packet: dict[str, Any]) -> None:
        """Write one packet of the tap."""
        if packet["name"] == SNAPSHOT:
            self._lost += packet["lost"]
        self._armed |= packet["name"] == "arm" and not packet["result"]
        for message in self._messages.of(packet):
            self._write(message, packet["seq"])

    def _write(self, message: Message, seq: int) -> None:
        # What was said before the recording began stands at its beginning.
        self._newest_ns = max(self._newest_ns, message.body["at_ns"])
        self._writer.add_message(
            channel_id=self._channel(message.topic),
            log_time=self._newest_ns + self._wall_ns,
            publish_time=max(0, message.t_ns + self._wall_ns),
            data=json.dumps(message.body, allow_nan=False).encode(),
            sequence=seq % (1 << 32),
        )
        self._counts[message.topic] += 1

    def _channel(self, topic: str) -> int:
        if topic not in self._channels:
            schema = self._schemas[topic]
            number = self._writer.register_schema(schema["title"], "jsonschema", json.dumps(schema).encode())
            self._channels[topic] = self._writer.register_channel(topic, "json", number)
        return self._channels[topic]

    def summary(self, ended: bool) -> Recorded:
        return Recorded(dict(self._counts), self._lost, self._armed, ended)

    def __enter__(self) -> _Recording:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is None or not issubclass(kind, OSError):
            self._writer.finish()  # type: ignore[no-untyped-call]
