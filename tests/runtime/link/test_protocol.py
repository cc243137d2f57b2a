"""The packets of the link: known bytes, round trips, and everything that must be refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from jetvla.runtime.contracts import ActionChunk
from jetvla.runtime.errors import LinkError
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

HELLO = Hello("ab" * 32, "cd" * 32, True, 0.5)
HEALTH = Health(
    12,
    StageTimes(1, 2, 3, 4, 5),
    (CameraHealth(0, 7, 99, frozen=True, size_changed=True), CameraHealth(1, 8, 2**63 - 1)),
)
IDLE = Idle(IdleReason.NO_CAMERA, "front: no device")


def chunk(rows: int = 2, columns: int = 3) -> ChunkMessage:
    actions = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    return ChunkMessage(actions, 1_000, 100, 2**63 + 5, 42)


def header(kind: int, length: int, seq: int) -> bytes:
    return b"JVLA" + bytes([1, kind]) + b"\0\0" + struct.pack("<II", length, seq)


@pytest.mark.parametrize(
    ("message", "packet"),
    [
        (
            HELLO,
            header(1, 72, 9) + b"\xab" * 32 + b"\xcd" * 32 + b"\x01\0\0\0" + struct.pack("<f", 0.5),
        ),
        (
            HEALTH,
            header(3, 82, 9)
            + struct.pack("<qqqqqqH", 12, 1, 2, 3, 4, 5, 2)
            + struct.pack("<HHIq", 0, 5, 7, 99)
            + struct.pack("<HHIq", 1, 0, 8, 2**63 - 1),
        ),
        (IDLE, header(4, 17, 9) + b"\x02front: no device"),
    ],
)
def test_known_bytes(message: Message, packet: bytes) -> None:
    assert encode(message, 9) == packet
    assert decode(packet) == (message, 9)


def test_known_bytes_of_a_chunk() -> None:
    packet = encode(chunk(), 9)
    assert packet == header(2, 52, 42) + struct.pack("<qqQHH6f", 1_000, 100, 2**63 + 5, 2, 3, *range(6))
    message, seq = decode(packet)
    assert isinstance(message, ChunkMessage)
    assert (message.t0_ns, message.dt_ns, message.instruction_id, message.seq, seq) == (1_000, 100, 2**63 + 5, 42, 42)
    assert message.actions.dtype == np.float32
    assert message.actions.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not message.actions.flags.writeable


def test_a_chunk_becomes_a_message_and_a_chunk_again() -> None:
    original = ActionChunk(np.ones((1, 2), np.float32), 5, 6, 7, "bundle", 2**32 + 3)
    message = ChunkMessage.of(original)
    assert message.seq == 3
    again = message.chunk("bundle")
    assert (again.t0_ns, again.dt_ns, again.instruction_id, again.bundle, again.seq) == (5, 6, 7, "bundle", 3)
    assert again.actions is original.actions


def test_numbers_that_are_none_pass_for_the_guard_to_judge() -> None:
    message = ChunkMessage(np.array([[np.nan, np.inf]], np.float32), 0, 0, 0, 0)
    decoded, _ = decode(encode(message, 0))
    assert isinstance(decoded, ChunkMessage)
    np.testing.assert_array_equal(decoded.actions, message.actions)


def test_the_largest_chunk_fits() -> None:
    numbers = (MAX_PACKET - 16 - 28) // 4
    assert len(encode(chunk(1, numbers), 0)) <= MAX_PACKET
    with pytest.raises(LinkError, match="larger than 65536"):
        encode(chunk(2, numbers // 2 + 1), 0)


def test_a_long_text_is_cut_between_characters() -> None:
    message, _ = decode(encode(Idle(IdleReason.NO_INSTRUCTION, "ä" * 150), 0))
    assert message == Idle(IdleReason.NO_INSTRUCTION, "ä" * 100)
    message, _ = decode(encode(Idle(IdleReason.NO_INSTRUCTION, "a" + "ä" * 150), 0))
    assert message == Idle(IdleReason.NO_INSTRUCTION, "a" + "ä" * 99)


def test_text_that_is_no_unicode_is_replaced() -> None:
    message, _ = decode(encode(Idle(IdleReason.NO_INSTRUCTION, "a\ud800b"), 0))
    assert message == Idle(IdleReason.NO_INSTRUCTION, "a?b")


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (Hello("ab", "cd" * 32, True, 0.0), "a sha256 has 64"),
        (Hello("xy" * 32, "cd" * 32, True, 0.0), "cannot encode Hello"),
        (ChunkMessage(np.zeros(3, np.float32), 0, 0, 0, 0), "float32"),
        (ChunkMessage(np.zeros((0, 3), np.float32), 0, 0, 0, 0), "float32"),
        (ChunkMessage(np.zeros((1, 3)), 0, 0, 0, 0), "float64"),
        (ChunkMessage(np.zeros((1, 3), np.float32), 0, 0, -1, 0), "cannot encode ChunkMessage"),
        (Health(2**63, StageTimes(), ()), "cannot encode Health"),
        (Health(0, StageTimes(), (CameraHealth(70_000, 0, 0),)), "cannot encode Health"),
    ],
)
def test_what_does_not_fit_is_not_encoded(message: Message, named: str) -> None:
    with pytest.raises(LinkError, match=named):
        encode(message, 0)


def changed(packet: bytes, at: int, value: int) -> bytes:
    return packet[:at] + bytes([value]) + packet[at + 1 :]


GOOD = encode(HELLO, 0)
GOOD_CHUNK = encode(chunk(), 0)
GOOD_HEALTH = encode(HEALTH, 0)


@pytest.mark.parametrize(
    ("packet", "named"),
    [
        (b"", "packet of 0 bytes"),
        (GOOD[:15], "packet of 15 bytes"),
        (GOOD + bytes(MAX_PACKET), "packet of 65624 bytes"),
        (changed(GOOD, 0, 0), "starts with"),
        (changed(GOOD, 4, 2), "version 2"),
        (changed(GOOD, 5, 0), "unknown kind 0"),
        (changed(GOOD, 5, 5), "unknown kind 5"),
        (changed(GOOD, 6, 1), "flags 0x1"),
        (changed(GOOD, 7, 1), "flags 0x100"),
        (changed(GOOD, 8, 71), "says 71 bytes of payload but has 72"),
        (GOOD + b"\0", "says 72 bytes of payload but has 73"),
        (header(1, 71, 0) + bytes(71), "HELLO has 71 bytes, not 72"),
        (changed(GOOD, 16 + 64, 2), "golden passed is 2"),
        (changed(GOOD, 16 + 65, 1), "padding"),
        (header(2, 27, 0) + bytes(27), "CHUNK has 27 bytes"),
        (changed(GOOD_CHUNK, 16 + 24, 3), "says 3 x 3 actions but has 6 numbers"),
        (changed(GOOD_CHUNK, 16 + 24, 0), "says 0 x 3"),
        (changed(GOOD_CHUNK, 16 + 26, 0), "says 2 x 0"),
        (header(2, 28, 0) + bytes(28), "says 0 x 0"),
        (changed(GOOD_CHUNK, 8, 53) + b"\0", "but has 6.25 numbers"),
        (header(3, 49, 0) + bytes(49), "HEALTH has 49 bytes"),
        (changed(GOOD_HEALTH, 16 + 48, 3), "says 3 cameras"),
        (changed(GOOD_HEALTH, 16 + 50 + 2, 8), "camera 0 has flags 0x8"),
        (header(2, 32, 0) + struct.pack("<qqQHHf", -1, 1, 1, 1, 1, 0.5), "CHUNK has a time of -1 ns"),
        (
            header(3, 50, 0) + struct.pack("<q5qH", -(2**63), 0, 0, 0, 0, 0, 0),
            "HEALTH has a time of -9223372036854775808",
        ),
        (changed(GOOD_HEALTH, 16 + 50 + 15, 0x80), "HEALTH has a time of -"),
        (header(4, 0, 0), "IDLE has 0 bytes"),
        (header(4, 202, 0) + b"\x01" + b"a" * 201, "IDLE has 202 bytes"),
        (header(4, 1, 0) + b"\x09", "IDLE: 9 is not a valid"),
        (header(4, 2, 0) + b"\x01\xff", "IDLE: 'utf-8' codec"),
    ],
)
def test_what_the_layout_does_not_allow_is_refused(packet: bytes, named: str) -> None:
    with pytest.raises(LinkError) as error:
        decode(packet)
    assert named in str(error.value)
