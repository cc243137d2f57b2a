"""A policy of bad manners, on the real link: ``python stand_in.py SOCKET BUNDLE INSTRUCTION``.

It begins as a good policy of 10 Hz that asks for full speed. The name of a manner on standard input makes it go over
to that one with its next chunk; it answers with the name and the monotonic time in nanoseconds from which the fault
counts: of the first bad packet, or of the last good one where the fault is that none comes.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.contracts import Instruction
from jetvla.runtime.errors import LinkError
from jetvla.runtime.link.client import PolicyLink
from jetvla.runtime.link.protocol import MAX_PACKET, CameraHealth, ChunkMessage, Health, Hello, StageTimes, encode

PERIOD_NS = 100_000_000
FRAME_AGE_NS = 20_000_000
FLOOD_NS = 1_500_000_000
# x, y, z, roll, pitch, yaw, gripper: as fast as the guard allows.
FULL_SPEED = np.array([[0.25, 0, 0, 0, 0, 0.5, 0.5]], np.float32)
Actions = NDArray[np.float32]


class BareLink(PolicyLink):
    """A link that also sends what is no message."""

    def send_bytes(self, packet: bytes) -> None:
        assert self._socket is not None
        self._socket.send(packet)


class StandInPolicy:
    """Sends chunks and health as a real policy does."""

    def __init__(self, link: BareLink, bundle: str, instruction: str) -> None:
        self.link = link
        self._instruction = Instruction.of(instruction, 0).id
        self._seq = 0
        self._health = Health(0, StageTimes(), ())
        self.last_ns = 0
        link.send(Hello(bundle, "cd" * 32, True, 0.0))

    def message(self, actions: Actions) -> ChunkMessage:
        """A chunk that answers a frame of just now."""
        self._seq += 1
        t0_ns = time.monotonic_ns() - FRAME_AGE_NS
        camera = CameraHealth(0, self._seq, t0_ns)
        self._health = Health(time.monotonic_ns(), StageTimes(step=FRAME_AGE_NS // 2), (camera,))
        return ChunkMessage(actions, t0_ns, PERIOD_NS, self._instruction, self._seq)

    def act(self, actions: Actions = FULL_SPEED) -> None:
        self.link.send(self.message(actions.copy()))
        self.last_ns = time.monotonic_ns()
        self.beat()

    def beat(self) -> None:
        """Say the last health again, as a policy does that is busy."""
        self.link.send(self._health)


def _with(value: float) -> Actions:
    actions = FULL_SPEED.copy()
    actions[0, 3] = value
    return actions


def _slow(policy: StandInPolicy, count: int) -> None:
    policy.act() if count % 10 == 9 else policy.beat()


def _flood(policy: StandInPolicy, count: int) -> None:
    end_ns = time.monotonic_ns() + FLOOD_NS
    while count == 0 and time.monotonic_ns() < end_ns:
        policy.act()
    policy.act()


def _oversize(policy: StandInPolicy) -> bytes:
    """A good packet, and zeros behind it."""
    return encode(policy.message(FULL_SPEED.copy()), 0).ljust(MAX_PACKET + 1, b"\0")


# Each is called for every period, with how often it was before.
MANNERS: dict[str, Callable[[StandInPolicy, int], None]] = {
    "good": lambda policy, _: policy.act(),
    "nan": lambda policy, _: policy.act(_with(np.nan)),
    "inf": lambda policy, _: policy.act(_with(np.inf)),
    "width": lambda policy, _: policy.act(FULL_SPEED[:, :6]),
    "jump": lambda policy, _: policy.act(-FULL_SPEED),
    # Each step is small enough to continue the one before.
    "more": lambda policy, count: policy.act(FULL_SPEED * np.float32(1.3 + 0.3 * count)),
    "slow": _slow,
    "silent": lambda policy, _: None,
    "garbage": lambda policy, _: policy.link.send_bytes(os.urandom(200)),
    "oversize": lambda policy, _: policy.link.send_bytes(_oversize(policy)),
    "flood": _flood,
}
LATE = ("slow", "silent")


def main() -> int:
    path, bundle, instruction = sys.argv[1:]
    link = BareLink(Path(path))
    link.connect()
    policy = StandInPolicy(link, bundle, instruction)
    clock, manner, count = MonotonicClock(), "good", 0
    due_ns = clock.now_ns()
    while True:
        if select.select([sys.stdin], [], [], 0)[0]:
            manner, count = (told := sys.stdin.readline().strip()), 0
            print(told, policy.last_ns if told in LATE else time.monotonic_ns(), flush=True)
        try:
            MANNERS[manner](policy, count)
        except (LinkError, OSError) as error:
            print(f"closed: {error}", flush=True)
            return 0
        count += 1
        due_ns = max(due_ns + PERIOD_NS, clock.now_ns())
        clock.sleep_until_ns(due_ns)


class StandIn:
    """The process of it, for a test."""

    def __init__(self, socket: Path, bundle: str, instruction: str) -> None:
        command = [sys.executable, __file__, str(socket), bundle, instruction]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, manner: str) -> int:
        """Go over to ``manner``; the time in monotonic nanoseconds from which the fault counts."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(manner + "\n")
        self._process.stdin.flush()
        name, _, t_ns = self._process.stdout.readline().partition(" ")
        assert name == manner, f"the stand-in policy says {name!r}"
        return int(t_ns)

    def __enter__(self) -> StandIn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    raise SystemExit(main())
