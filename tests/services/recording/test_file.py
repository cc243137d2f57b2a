"""The MCAP file, as Foxglove and other readers meet it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jetvla.runtime.guard.core import Guard
from jetvla.services.recording.guard import noted_methods
from jetvla.services.recording.reading import Recording
from jetvla.services.recording.topics import AT, EARLIER, REFUSED, schemas
from jetvla.services.recording.values import hints_of

from .conftest import Stage

MakeStage = Callable[..., Stage]
AHEAD = [0.2, 0.1, 0.0, 0.0, 0.0, 0.3, 0.8]
ODD = [np.nan, np.inf, -np.inf, 1e-45, 0.1, -0.0, 0.5]


def conforms(value: Any, schema: dict[str, Any]) -> bool:
    """Whether ``value`` follows ``schema``, as far as ours go; numbers that are none are strings."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    if schema["type"] == "number" and value in ("NaN", "Infinity", "-Infinity"):
        return True
    if not isinstance(value, kinds[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean"):
        return False
    if schema["type"] == "array":
        return all(conforms(item, schema["items"]) for item in value)
    if schema["type"] == "object":
        known = all(name in schema["properties"] for name in value)
        return (
            known
            and set(schema.get("required", ())) <= value.keys()
            and all(conforms(item, schema["properties"][name]) for name, item in value.items())
        )
    return True


@pytest.fixture
def recorded(stage: MakeStage) -> Stage:
    one = stage()
    one.start()
    one.rig.arm()
    one.run(0.4, AHEAD)
    one.rig.chunk(ODD)
    one.guard.on_feedback(np.array(ODD))
    one.guard.on_pose(np.zeros(3), 5)
    one.guard.on_deadman(True)
    one.guard.on_instruction(None)
    one.guard.arm()
    one.guard.stop("enough")
    one.run(0.2, AHEAD)
    one.stop()
    return one


def messages(stage: Stage) -> dict[str, list[tuple[Any, Any, dict[str, Any]]]]:
    """By topic: schema, message, and its body."""
    from mcap.reader import make_reader

    found = defaultdict(list)
    with stage.file.open("rb") as stream:
        for schema, channel, message in make_reader(stream, validate_crcs=True).iter_messages():
            assert schema is not None
            assert schema.encoding == "jsonschema"
            assert channel.message_encoding == "json"
            found[channel.topic].append((json.loads(schema.data), message, json.loads(message.data)))
    return found


def test_every_message_follows_the_schema_of_its_topic(recorded: Stage) -> None:
    found = messages(recorded)
    for schema, _, body in (m for topic in found.values() for m in topic):
        assert conforms(body, schema), (body, schema)
    asked = {"/hello", "/health", "/chunk", "/instruction", "/peers", "/feedback", "/pose", "/deadman", "/arm", "/stop"}
    assert asked | {"/tick", "/command", "/event", "/frame", "/snapshot"} <= found.keys()
    assert len(found["/command"]) == len(recorded.rig.commands())
    assert found["/arm"][1][2]["refused"][0].startswith("state is ARMED")


def test_commands_are_named_and_stamps_of_frames_are_there(recorded: Stage) -> None:
    found = messages(recorded)
    values = [list(m[2]["values"].values()) for m in found["/command"]]
    assert list(found["/command"][0][2]["values"]) == list(recorded.rig.spec.names)
    assert np.array_equal(values, recorded.rig.commands())
    frames = [m[2] for m in found["/frame"]]
    assert {f["seq"] for f in frames} >= {0, 1, 2}
    assert frames[0]["age_s"] == pytest.approx(0.03, abs=0.001)


def test_times_never_go_back_and_are_those_of_the_wall_clock(recorded: Stage) -> None:
    times = [m[1].log_time for m in messages(recorded)["/tick"]]
    assert times == sorted(times)
    assert times[0] > 1.7e18, "nanoseconds since 1970"


def test_numbers_that_are_none_come_back_as_they_were(recorded: Stage) -> None:
    calls = list(Recording(recorded.file).calls())
    chunks = [c.arguments["chunk"].actions for c in calls if c.name == "on_chunk"]
    odd = [actions for actions in chunks if np.isnan(actions).any()]
    assert odd[0].tobytes() == np.repeat([ODD], 8, axis=0).astype(np.float32).tobytes()
    (values,) = (c.arguments["values"] for c in calls if c.name == "on_feedback")
    assert values.tobytes() == np.array(ODD).tobytes()


def test_schemas_stay_within_what_viewers_know() -> None:
    def check(schema: dict[str, Any]) -> None:
        assert schema["type"] in ("object", "array", "string", "boolean", "integer", "number")
        if schema["type"] == "array":
            assert schema["items"]["type"] != "array"
            check(schema["items"])
        for part in schema.get("properties", {}).values():
            check(part)

    for schema in schemas(("x", "y")).values():
        assert schema["type"] == "object"
        check(schema)


def test_no_argument_of_the_guard_has_a_name_that_a_message_needs() -> None:
    names = {name for method in noted_methods() for name in hints_of(getattr(Guard, method))}
    assert not names & {AT, EARLIER, REFUSED}
