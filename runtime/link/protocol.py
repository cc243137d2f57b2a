"""Packets of the link, version 1. Little-endian; a 16-byte header, then the payload of its kind.

::

    header   magic "JVLA", version u8, kind u8, flags u16 (0), payload length u32, sequence u32
    1 HELLO  bundle digest 32 bytes, engine key 32 bytes, golden passed u8, 3 bytes 0, golden error f32
    2 CHUNK  t0_ns i64, dt_ns i64, instruction id u64, H u16, D u16, then H*D float32
    3 HEALTH sent_ns i64, 5 stage times i64, camera count u16,
             then per camera: index u16, flags u16 (1 frozen, 2 dark, 4 size changed), seq u32, t_ns i64
    4 IDLE   reason u8, then UTF-8 text of at most 200 bytes
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.contracts import ActionChunk, freeze
from jetvla.runtime.errors import LinkError

MAGIC = b"JVLA"
VERSION = 1
MAX_PACKET = 64 * 1024
MAX_TEXT = 200
SEQUENCE_MODULUS = 1 << 32

_HEADER = struct.Struct("<4sBBHII")
_HELLO = struct.Struct("<32s32sB3sf")
_CHUNK = struct.Struct("<qqQHH")
_HEALTH = struct.Struct("<q5qH")
_CAMERA = struct.Struct("<HHIq")
_IDLE = struct.Struct("<B")


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of a policy.

    Attributes:
        bundle: sha256 of the bundle's manifest, 64 hexadecimal digits.
        engine_key: sha256 of the engine key, 64 hexadecimal digits.
        golden_passed: the engine reproduced the golden samples within tolerance.
        golden_error: largest relative error seen in them.
    """

    bundle: str
    engine_key: str
    golden_passed: bool
    golden_error: float


@dataclass(frozen=True, slots=True, eq=False)
class ChunkMessage:
    """An action chunk; ``seq`` is the header's. ``actions`` is float32 [H, D] and may hold NaN: the guard
    judges.
    """

    actions: NDArray[np.float32]
    t0_ns: int
    dt_ns: int
    instruction_id: int
    seq: int

    def __post_init__(self) -> None:
        freeze(self.actions)

    @classmethod
    def of(cls, chunk: ActionChunk) -> ChunkMessage:
        return cls(chunk.actions, chunk.t0_ns, chunk.dt_ns, chunk.instruction_id, chunk.seq % SEQUENCE_MODULUS)

    def chunk(self, bundle: str) -> ActionChunk:
        """The chunk, of the bundle that the policy named in its HELLO."""
        return ActionChunk(self.actions, self.t0_ns, self.dt_ns, self.instruction_id, bundle, self.seq)


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Durations of the newest step, nanoseconds."""

    capture: int = 0
    preprocess: int = 0
    tokenize: int = 0
    language: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """State of one camera; ``index`` is its place in the manifest, ``t_ns`` the newest frame's capture
    time.
    """

    index: int
    seq: int
    t_ns: int
    frozen: bool = False
    dark: bool = False
    size_changed: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """How the policy is; ``sent_ns`` is when its last chunk was sent."""

    sent_ns: int
    stages: StageTimes
    cameras: tuple[CameraHealth, ...]


class IdleReason(IntEnum):
    NO_INSTRUCTION = 1
    NO_CAMERA = 2
    NO_STATE = 3


@dataclass(frozen=True, slots=True)
class Idle:
    """Why no chunks come; ``text`` is for people, cut to 200 bytes of UTF-8."""

    reason: IdleReason
    text: str = ""


Message = Hello | ChunkMessage | Health | Idle


def encode(message: Message, seq: int) -> bytes:
    """One packet. ``seq`` counts all packets of this sender, modulo 2^32; a chunk carries its own.

    Raises:
        LinkError: a field does not fit into the layout.
    """
    try:
        kind, payload = _payload(message)
    except (struct.error, ValueError) as error:
        raise LinkError(f"cannot encode {type(message).__name__}: {error}") from None
    if _HEADER.size + len(payload) > MAX_PACKET:
        raise LinkError(f"{type(message).__name__} of {len(payload)} bytes is larger than {MAX_PACKET}")
    if isinstance(message, ChunkMessage):
        seq = message.seq
    return _HEADER.pack(MAGIC, VERSION, kind, 0, len(payload), seq % SEQUENCE_MODULUS) + payload


def _payload(message: Message) -> tuple[int, bytes]:
    if isinstance(message, Hello):
        digests = _digest(message.bundle), _digest(message.engine_key)
        return 1, _HELLO.pack(*digests, message.golden_passed, bytes(3), message.golden_error)
    if isinstance(message, ChunkMessage):
        return 2, _chunk_payload(message)
    if isinstance(message, Health):
        s = message.stages
        stages = (s.capture, s.preprocess, s.tokenize, s.language, s.step)
        head = _HEALTH.pack(message.sent_ns, *stages, len(message.cameras))
        return 3, head + b"".join(map(_camera_payload, message.cameras))
    text = message.text.encode("utf-8", "replace")[:MAX_TEXT]
    return 4, _IDLE.pack(message.reason) + text.decode("utf-8", "ignore").encode()


def _digest(text: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != 32:
        raise ValueError(f"a sha256 has 64 hexadecimal digits, not {text!r}")
    return digest


def _chunk_payload(message: ChunkMessage) -> bytes:
    if message.actions.ndim != 2 or message.actions.size == 0 or message.actions.dtype != np.float32:
        raise ValueError(f"actions are float32 [H, D], not {message.actions.dtype} {message.actions.shape}")
    head = _CHUNK.pack(message.t0_ns, message.dt_ns, message.instruction_id, *message.actions.shape)
    return head + message.actions.astype("<f4").tobytes()


def _camera_payload(camera: CameraHealth) -> bytes:
    flags = camera.frozen | camera.dark << 1 | camera.size_changed << 2
    return _CAMERA.pack(camera.index, flags, camera.seq % SEQUENCE_MODULUS, camera.t_ns)


def decode(packet: bytes) -> tuple[Message, int]:
    """Message and sequence of one packet.

    Raises:
        LinkError: anything that the layout does not allow.
    """
    if not _HEADER.size <= len(packet) <= MAX_PACKET:
        raise LinkError(f"packet of {len(packet)} bytes; allowed are {_HEADER.size} to {MAX_PACKET}")
    magic, version, kind, flags, length, seq = _HEADER.unpack_from(packet)
    if magic != MAGIC or version != VERSION:
        raise LinkError(f"packet starts with {magic!r} version {version}, not {MAGIC!r} version {VERSION}")
    if flags != 0:
        raise LinkError(f"packet has flags {flags:#x}; version {VERSION} knows none")
    payload = packet[_HEADER.size :]
    if length != len(payload):
        raise LinkError(f"packet says {length} bytes of payload but has {len(payload)}")
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise LinkError(f"packet of unknown kind {kind}")
    return decoder(payload, seq), seq


def _hello(payload: bytes, seq: int) -> Hello:
    if len(payload) != _HELLO.size:
        raise LinkError(f"HELLO has {len(payload)} bytes, not {_HELLO.size}")
    bundle, key, passed, padding, error = _HELLO.unpack(payload)
    if passed > 1 or padding != bytes(3):
        raise LinkError(f"HELLO: golden passed is {passed} with padding {padding!r}; must be 0 or 1, and zeros")
    return Hello(bundle.hex(), key.hex(), passed == 1, error)


def _chunk(payload: bytes, seq: int) -> ChunkMessage:
    if len(payload) < _CHUNK.size:
        raise LinkError(f"CHUNK has {len(payload)} bytes, fewer than {_CHUNK.size}")
    t0_ns, dt_ns, instruction_id, rows, columns = _CHUNK.unpack_from(payload)
    _check_time("CHUNK", t0_ns)
    numbers = (len(payload) - _CHUNK.size) / 4
    if rows == 0 or columns == 0 or rows * columns != numbers:
        raise LinkError(f"CHUNK says {rows} x {columns} actions but has {numbers:g} numbers")
    actions = np.frombuffer(payload, "<f4", offset=_CHUNK.size).reshape(rows, columns).astype(np.float32)
    return ChunkMessage(actions, t0_ns, dt_ns, instruction_id, seq)


def _health(payload: bytes, seq: int) -> Health:
    if len(payload) < _HEALTH.size:
        raise LinkError(f"HEALTH has {len(payload)} bytes, fewer than {_HEALTH.size}")
    sent_ns, *stages, count = _HEALTH.unpack_from(payload)
    _check_time("HEALTH", sent_ns)
    if len(payload) != _HEALTH.size + count * _CAMERA.size:
        raise LinkError(f"HEALTH says {count} cameras but has {len(payload)} bytes")
    return Health(sent_ns, StageTimes(*stages), tuple(map(_camera, _CAMERA.iter_unpack(payload[_HEALTH.size :]))))


def _camera(fields: tuple[int, ...]) -> CameraHealth:
    index, flags, seq, t_ns = fields
    if flags > 7:
        raise LinkError(f"HEALTH: camera {index} has flags {flags:#x}; known are 1, 2 and 4")
    _check_time("HEALTH", t_ns)
    return CameraHealth(index, seq, t_ns, bool(flags & 1), bool(flags & 2), bool(flags & 4))


def _check_time(kind: str, ns: int) -> None:
    if ns < 0:
        raise LinkError(f"{kind} has a time of {ns} ns; the monotonic clock begins at 0")


def _idle(payload: bytes, seq: int) -> Idle:
    if not _IDLE.size <= len(payload) <= _IDLE.size + MAX_TEXT:
        raise LinkError(f"IDLE has {len(payload)} bytes; allowed are {_IDLE.size} to {_IDLE.size + MAX_TEXT}")
    try:
        return Idle(IdleReason(payload[0]), payload[1:].decode())
    except ValueError as error:
        raise LinkError(f"IDLE: {error}") from None


_DECODERS: dict[int, Callable[[bytes, int], Message]] = {1: _hello, 2: _chunk, 3: _health, 4: _idle}
