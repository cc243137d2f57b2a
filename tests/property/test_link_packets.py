"""Packets: everything that can be said arrives as it was, and nothing that arrives can crash the guard."""

from __future__ import annotations

import contextlib

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jetvla.runtime.errors import LinkError
from jetvla.runtime.guard.rig import GuardRig
from jetvla.runtime.link.protocol import (
    MAX_PACKET,
    CameraHealth,
    ChunkMessage,
    Health,
    Hello,
    Idle,
    IdleReason,
    Message,
    StageTimes,
    decode,
    encode,
)

RULES = settings(max_examples=200, deadline=None)

i64 = st.integers(-(2**63), 2**63 - 1)
times = st.integers(0, 2**63 - 1)
u32 = st.integers(0, 2**32 - 1)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
hellos = st.builds(Hello, digests, digests, st.booleans(), st.floats(width=32, allow_nan=False))
cameras = st.builds(CameraHealth, st.integers(0, 2**16 - 1), u32, times, st.booleans(), st.booleans(), st.booleans())
healths = st.builds(
    Health, times, st.builds(StageTimes, i64, i64, i64, i64, i64), st.lists(cameras, max_size=20).map(tuple)
)
idles = st.builds(Idle, st.sampled_from(IdleReason), st.text(st.characters(codec="utf-8"), max_size=50))


@st.composite
def chunks(draw: st.DrawFn) -> ChunkMessage:
    shape = draw(st.tuples(st.integers(1, 20), st.integers(1, 30)))
    data = draw(st.binary(min_size=4 * shape[0] * shape[1], max_size=4 * shape[0] * shape[1]))
    actions = np.frombuffer(data, np.float32).reshape(shape)
    return ChunkMessage(actions, draw(times), draw(i64), draw(st.integers(0, 2**64 - 1)), draw(u32))


def same(a: Message, b: Message) -> bool:
    if isinstance(a, ChunkMessage) and isinstance(b, ChunkMessage):
        return (
            a.actions.tobytes() == b.actions.tobytes()
            and a.actions.shape == b.actions.shape
            and (a.t0_ns, a.dt_ns, a.instruction_id, a.seq) == (b.t0_ns, b.dt_ns, b.instruction_id, b.seq)
        )
    return a == b


messages = st.one_of(hellos, healths, idles, chunks())


@RULES
@given(messages, u32)
def test_round_trip(message: Message, seq: int) -> None:
    packet = encode(message, seq)
    decoded, number = decode(packet)
    assert same(decoded, message)
    assert number == (message.seq if isinstance(message, ChunkMessage) else seq)


@RULES
@given(st.binary(max_size=300))
@example(b"")
@example(bytes(MAX_PACKET + 1))
def test_garbage_is_a_link_error(packet: bytes) -> None:
    with contextlib.suppress(LinkError):
        decode(packet)


@RULES
@given(st.integers(0, 6), st.binary(max_size=200), u32)
def test_garbage_with_a_good_header_is_a_message_or_a_link_error(kind: int, payload: bytes, seq: int) -> None:
    header = b"JVLA" + bytes([1, kind, 0, 0]) + len(payload).to_bytes(4, "little") + seq.to_bytes(4, "little")
    with contextlib.suppress(LinkError):
        message, _ = decode(header + payload)
        again, _ = decode(encode(message, seq))
        assert same(again, message) or "nan" in repr(message)


@RULES
@given(messages, st.data())
def test_a_damaged_packet_is_a_message_or_a_link_error(message: Message, data: st.DataObject) -> None:
    packet = bytearray(encode(message, 0))
    at = data.draw(st.integers(0, len(packet) - 1))
    packet[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(LinkError):
        decode(bytes(packet))


@settings(RULES, max_examples=100)
@given(st.lists(messages, max_size=12))
def test_no_message_makes_the_guard_raise(sequence: list[Message]) -> None:
    rig = GuardRig()
    rig.arm()
    for message in sequence:
        if isinstance(message, Hello):
            rig.guard.on_hello(message)
        elif isinstance(message, ChunkMessage):
            rig.guard.on_chunk(message.chunk("b"))
        elif isinstance(message, Health):
            rig.guard.on_health(message)
        else:
            rig.guard.on_idle(message)
        command = rig.step().command
        assert command is None or np.isfinite(command.values).all()
