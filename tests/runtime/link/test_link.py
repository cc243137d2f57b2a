"""Both ends of the link over real sockets."""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.errors import LinkError
from jetvla.runtime.link import server
from jetvla.runtime.link.client import PolicyLink
from jetvla.runtime.link.protocol import (
    MAX_PACKET,
    ChunkMessage,
    Health,
    Hello,
    Idle,
    IdleReason,
    Message,
    StageTimes,
    encode,
)
from jetvla.runtime.link.server import GuardLink, LinkLost

HELLO = Hello("ab" * 32, "cd" * 32, True, 0.5)
HEALTH = Health(1, StageTimes(), ())
IDLE = Idle(IdleReason.NO_INSTRUCTION, "say something")
CLOSED = LinkLost("the policy closed the link")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "guard.sock"


@pytest.fixture
def guard(path: Path) -> Iterator[GuardLink]:
    link = GuardLink(path, {os.getuid()})
    yield link
    link.close()


@pytest.fixture
def policy(path: Path, guard: GuardLink) -> Iterator[PolicyLink]:
    """Connected, and greeted."""
    link = PolicyLink(path)
    link.connect()
    link.send(HELLO)
    assert guard.poll() == [HELLO]
    yield link
    link.close()


@pytest.fixture
def raw(path: Path, guard: GuardLink) -> Iterator[socket.socket]:
    """A peer that speaks bytes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        peer.settimeout(5.0)
        peer.connect(str(path))
        yield peer


def test_messages_arrive_in_order(guard: GuardLink, policy: PolicyLink) -> None:
    sent: list[Message] = [HEALTH, IDLE, HEALTH]
    for message in sent:
        policy.send(message)
    assert guard.poll() == sent
    assert guard.poll() == []


def test_a_chunk_keeps_its_own_sequence(guard: GuardLink, policy: PolicyLink) -> None:
    policy.send(ChunkMessage(np.ones((1, 7), np.float32), 5, 6, 7, 123))
    (message,) = guard.poll()
    assert isinstance(message, ChunkMessage)
    assert message.seq == 123


def test_nobody_there_is_nothing(guard: GuardLink) -> None:
    assert guard.poll() == []
    assert not guard.connected


def test_end_of_file_is_seen_at_once(guard: GuardLink, policy: PolicyLink) -> None:
    assert guard.connected
    policy.close()
    assert guard.poll() == [CLOSED]
    assert not guard.connected
    assert guard.poll() == []


def test_last_words_come_before_the_end_of_file(guard: GuardLink, policy: PolicyLink) -> None:
    policy.send(IDLE)
    policy.close()
    assert guard.poll() == [IDLE, CLOSED]


def test_end_of_file_does_not_wait_for_a_long_queue(guard: GuardLink, policy: PolicyLink) -> None:
    for _ in range(server.PACKETS_PER_POLL + 20):
        policy.send(IDLE)
    policy.close()
    assert guard.poll() == [IDLE] * server.PACKETS_PER_POLL + [CLOSED]


def test_one_poll_is_bounded(guard: GuardLink, policy: PolicyLink) -> None:
    for _ in range(server.PACKETS_PER_POLL + 20):
        policy.send(IDLE)
    assert len(guard.poll()) == server.PACKETS_PER_POLL
    assert len(guard.poll()) == 20


def test_the_next_peer_is_taken_when_the_old_one_is_gone(path: Path, guard: GuardLink, policy: PolicyLink) -> None:
    second = PolicyLink(path)
    second.connect()
    second.send(HELLO)
    assert guard.poll() == []
    policy.close()
    assert guard.poll() == [CLOSED]
    assert guard.poll() == [HELLO]
    second.close()
    assert guard.poll() == [CLOSED]


def test_a_peer_that_came_and_went_is_no_trouble(path: Path, guard: GuardLink) -> None:
    link = PolicyLink(path)
    link.connect()
    link.close()
    assert guard.poll() == [CLOSED]
    assert guard.poll() == []


@pytest.mark.parametrize(
    ("packet", "named"),
    [
        (b"garbage", "packet of 7 bytes"),
        (os.urandom(64), "packet starts with"),
        (bytes(MAX_PACKET + 1000), f"packet of {MAX_PACKET + 1} bytes"),
        (encode(HELLO, 0)[:-1], "says 72 bytes of payload but has 71"),
        (encode(IDLE, 0), "sent Idle before HELLO"),
        (encode(HEALTH, 0), "sent Health before HELLO"),
    ],
)
def test_a_peer_that_breaks_the_protocol_is_sent_away(
    guard: GuardLink, raw: socket.socket, packet: bytes, named: str
) -> None:
    raw.send(packet)
    (lost,) = guard.poll()
    assert isinstance(lost, LinkLost)
    assert named in lost.reason
    assert not guard.connected
    assert raw.recv(1) == b""


def test_what_came_before_the_garbage_is_kept(guard: GuardLink, raw: socket.socket) -> None:
    raw.send(encode(HELLO, 0))
    raw.send(encode(IDLE, 1))
    raw.send(b"garbage")
    raw.send(encode(IDLE, 2))
    first, second, lost = guard.poll()
    assert (first, second) == (HELLO, IDLE)
    assert isinstance(lost, LinkLost)


def test_an_empty_packet_is_an_end_of_file(guard: GuardLink, raw: socket.socket) -> None:
    raw.send(b"")
    assert guard.poll() == [CLOSED]


def test_another_user_is_sent_away(path: Path) -> None:
    guard = GuardLink(path, {os.getuid() + 1})
    link = PolicyLink(path)
    link.connect()
    (lost,) = guard.poll()
    assert isinstance(lost, LinkLost)
    assert f"process {os.getpid()} of user {os.getuid()} is not allowed" in lost.reason
    with pytest.raises(LinkError, match="cannot send"):
        link.send(HELLO)
    guard.close()


def test_the_socket_is_for_user_and_group(path: Path, guard: GuardLink) -> None:
    mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


def test_a_poll_can_be_waited_for(guard: GuardLink, path: Path) -> None:
    def waits() -> bool:
        return select.select([guard], [], [], 0)[0] == []

    assert waits()
    link = PolicyLink(path)
    link.connect()
    assert not waits()
    assert guard.poll() == []
    assert waits()
    link.send(HELLO)
    assert not waits()
    link.close()


def test_close_takes_the_socket_away(path: Path, guard: GuardLink, policy: PolicyLink) -> None:
    guard.close()
    assert not path.exists()
    with pytest.raises(LinkError, match="cannot send to the guard"):
        policy.send(IDLE)
    assert not policy.connected
    with pytest.raises(LinkError, match="cannot connect to the guard"):
        policy.connect()


def test_the_socket_of_a_killed_guard_is_replaced(path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    dead.bind(str(path))
    dead.close()
    guard = GuardLink(path, {os.getuid()})
    link = PolicyLink(path)
    link.connect()
    link.send(HELLO)
    assert guard.poll() == [HELLO]
    link.close()
    guard.close()


def test_a_second_guard_is_refused(path: Path, guard: GuardLink) -> None:
    with pytest.raises(LinkError, match="another guard is listening"):
        GuardLink(path, {os.getuid()})
    assert path.exists()


def test_a_file_in_the_way_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(LinkError, match="is not a socket"):
        GuardLink(path, {os.getuid()})
    assert path.read_text() == "precious"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="cannot listen"):
        GuardLink(tmp_path / "no" / "guard.sock", {os.getuid()})


def test_sending_without_a_connection_is_an_error(path: Path) -> None:
    with pytest.raises(LinkError, match="not connected"):
        PolicyLink(path).send(IDLE)


def fill(link: PolicyLink) -> None:
    for _ in range(10_000):
        link.send(IDLE)


def test_a_guard_that_does_not_read_is_an_error_and_not_a_wait(path: Path, guard: GuardLink) -> None:
    link = PolicyLink(path, timeout_s=0.05)
    link.connect()
    start = time.monotonic()
    with pytest.raises(LinkError, match="it does not read"):
        fill(link)
    assert time.monotonic() - start < 10
    assert not link.connected


def test_a_message_that_cannot_be_encoded_keeps_the_link(guard: GuardLink, policy: PolicyLink) -> None:
    with pytest.raises(LinkError, match="cannot encode"):
        policy.send(Hello("short", "cd" * 32, True, 0.0))
    policy.send(IDLE)
    assert guard.poll() == [IDLE]


def test_connecting_again_closes_the_old_connection(guard: GuardLink, policy: PolicyLink) -> None:
    policy.connect()
    policy.send(HELLO)
    assert guard.poll() == [CLOSED]
    assert guard.poll() == [HELLO]


def test_who_does_not_say_hello_is_sent_away_and_the_policy_that_waits_gets_its_place(path: Path) -> None:
    clock = FakeClock()
    guard, mute, policy = GuardLink(path, {os.getuid()}, clock), PolicyLink(path), PolicyLink(path)
    try:
        mute.connect()
        assert guard.poll() == []
        policy.connect()
        policy.send(HELLO)
        clock.advance(1.0)
        assert guard.poll() == []
        clock.advance(0.001)
        assert guard.poll() == [LinkLost("a process connected and did not say HELLO within 1 s")]
        assert guard.poll() == [HELLO]
        clock.advance(5)
        assert guard.poll() == []
    finally:
        for end in (mute, policy, guard):
            end.close()
