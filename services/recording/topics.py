"""What a recording holds: its topics, the schema of each, and how a call of the guard becomes messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jetvla.runtime.guard.core import Guard
from jetvla.runtime.guard.events import Event
from jetvla.runtime.link.protocol import CameraHealth
from jetvla.services.recording.calls import ACTS, PREFIX, SNAPSHOT, TICK
from jetvla.services.recording.guard import noted_methods
from jetvla.services.recording.values import Schema, hints_of, portable, record_schema

_TIME: Schema = {"type": "integer", "description": "CLOCK_MONOTONIC of the robot in nanoseconds"}
_TEXTS: Schema = {"type": "array", "items": {"type": "string"}}
# What stands in a message beside the arguments of the call.
AT, EARLIER, REFUSED = "at_ns", "earlier", "refused"
COMMAND, EVENT, FRAME = "/command", "/event", "/frame"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a topic; ``t_ns`` is what it is about, and when, on the robot's monotonic clock."""

    topic: str
    t_ns: int
    body: dict[str, Any]


def topic_of(method: str) -> str:
    """``on_chunk`` is ``/chunk``, ``arm`` is ``/arm``."""
    return f"/{method.removeprefix(PREFIX)}"


def method_of(topic: str) -> str:
    """The other way round; the name without its slash where no method of the guard has it."""
    name = topic.removeprefix("/")
    return f"{PREFIX}{name}" if f"{PREFIX}{name}" in noted_methods() else name


def schemas(names: tuple[str, ...]) -> dict[str, Schema]:
    """Schema of every topic.

    Args:
        names: of the action's dimensions; commands are plotted by them.
    """
    values = record_schema(dict.fromkeys(names, float))
    tick = {"state": str, "verdict": str, "clipped": tuple[str, ...], "seq": int | None}
    found = {
        topic_of(TICK): record_schema(tick, shaped=values),
        topic_of(SNAPSHOT): record_schema({"state": str, "ticks": int, "lost": int}, values=values),
        COMMAND: record_schema({"seq": int}, values=values),
        EVENT: record_schema(hints_of(Event)),
        FRAME: record_schema({"age_s": float, **hints_of(CameraHealth)}),
    }
    for method in noted_methods():
        if method != TICK:
            found[topic_of(method)] = _call_schema(method)
    for topic, schema in found.items():
        schema["title"] = f"jetvla{topic.replace('/', '.')}"
        schema["properties"] = {AT: _TIME, **schema["properties"]}
    return found


def _call_schema(method: str) -> Schema:
    hints = hints_of(getattr(Guard, method))
    hints.pop("return", None)
    extra = {REFUSED: _TEXTS} if method in ACTS else {}
    return record_schema(hints, **{EARLIER: {"type": "boolean"}}, **extra)


class Messages:
    """Turns packets of the tap into messages.

    Args:
        names: of the action's dimensions.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._frames: dict[int, int] = {}

    def of(self, packet: dict[str, Any]) -> Iterator[Message]:
        """Messages of one packet, oldest first; a tick comes after its command and its events."""
        name, at_ns = packet["name"], packet["at_ns"]
        if name == TICK:
            yield from self._tick(at_ns, packet["result"])
            return
        if name == SNAPSHOT:
            body = {n: packet[n] for n in ("state", "ticks", "lost")} | {"values": self._named(packet["values"])}
        else:
            body = {EARLIER: packet.get("earlier", False), **packet["arguments"]}
            if name in ACTS:
                body[REFUSED] = packet["result"] or []
        yield _message(topic_of(name), at_ns, at_ns, body)
        if name == "on_health":
            yield from self._seen(at_ns, packet["arguments"]["health"]["cameras"])

    def _tick(self, at_ns: int, result: dict[str, Any]) -> Iterator[Message]:
        command, verdict = result["command"], result["verdict"]
        for event in result["events"]:
            yield _message(EVENT, event["t_ns"], at_ns, event)
        seq = None
        if command is not None:
            seq = command["seq"]
            yield _message(COMMAND, at_ns, at_ns, {"seq": seq, "values": self._named(command["values"])})
        body = {"state": result["state"], "verdict": verdict["reason"], "clipped": verdict["clipped"], "seq": seq}
        yield _message(topic_of(TICK), at_ns, at_ns, body | {"shaped": self._named(result["shaped"])})

    def _seen(self, at_ns: int, cameras: list[dict[str, Any]]) -> Iterator[Message]:
        for camera in cameras:
            if self._frames.get(camera["index"]) != camera["seq"]:
                self._frames[camera["index"]] = camera["seq"]
                age_s = (at_ns - camera["t_ns"]) / 1e9
                yield _message(FRAME, camera["t_ns"], at_ns, {"age_s": age_s, **camera})

    def _named(self, values: list[float] | None) -> dict[str, float] | None:
        return None if values is None else dict(zip(self._names, values, strict=True))


def _message(topic: str, t_ns: int, at_ns: int, body: dict[str, Any]) -> Message:
    return Message(topic, t_ns, portable({AT: at_ns, **body}))
