"""A policy of bad manners, and strangers, on the guard's real socket: the guard is the process under test."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from jetvla.runtime.link.protocol import MAX_PACKET
from jetvla.services.supervisor import GUARD

from .rig import Rig, within
from .rows import note
from .settings import PATIENT, basic_settings
from .stand_in import StandIn
from .verdict import stopped, went_on

pytestmark = pytest.mark.ros

WATCH_S = 1.5
INSTRUCTION = "pick up the red block"


@pytest.fixture(scope="module")
def rig(place: Path) -> Iterator[Rig]:
    """A guard alone, with the limits of every robot; but a busy host is not a policy's doing."""
    settings = basic_settings(place)
    settings["guard"]["limits"] = PATIENT | {"rest_s": 0.5}
    with ExitStack() as resources:
        yield Rig(place, resources, settings, names=(GUARD,))


@pytest.fixture
def policy(rig: Rig) -> Iterator[StandIn]:
    with StandIn(rig.config.socket, rig.status().bundle, INSTRUCTION) as policy:
        yield policy


@pytest.mark.parametrize("manner", ["nan", "inf", "width", "jump", "more", "slow", "silent", "garbage", "oversize"])
def test_a_policy_of_bad_manners_is_stopped(rig: Rig, policy: StandIn, manner: str) -> None:
    rig.move()
    stopped(rig, manner, policy.tell(manner))


def test_a_policy_that_sends_all_it_can_is_obeyed_and_bounded(rig: Rig, policy: StandIn) -> None:
    rig.move()
    chunks, since_ns = rig.status().chunks, policy.tell("flood")
    time.sleep(WATCH_S)
    within(2, lambda: rig.status().chunks > chunks + 1000, "a thousand chunks")
    went_on(rig, "flood", since_ns)


def test_strangers_wait_outside_while_a_policy_is_connected(rig: Rig, policy: StandIn) -> None:
    rig.move()
    since_ns = time.monotonic_ns()
    with ExitStack() as resources:
        for packet, count in ((os.urandom(200), 1), (bytes(MAX_PACKET), 100), (b"", 0)):
            stranger = resources.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            stranger.setblocking(False)
            with suppress(BlockingIOError):
                stranger.connect(str(rig.config.socket))
                for _ in range(count):
                    stranger.send(packet)
        time.sleep(WATCH_S)
        went_on(rig, "strangers", since_ns)


def test_a_peer_that_never_says_hello_cannot_make_the_robot_move(rig: Rig) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        peer.connect(str(rig.config.socket))
        time.sleep(WATCH_S)
        refusal = rig.refusal()
        assert "link_lost" in refusal
        assert rig.state == "DISARMED"
        note("mute", rig.state, ["arming refused, link_lost"])
    # Once it has gone, the next one gets its place.
    with StandIn(rig.config.socket, rig.status().bundle, INSTRUCTION):
        rig.move()
