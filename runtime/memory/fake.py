"""Host memory that plays a GPU's, runs its queue at :meth:`synchronize`, and writes down what was asked; for tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import EngineError


class FakeBuffer:
    """``device`` is what the GPU would see."""

    def __init__(self, memory: FakeMemory, nbytes: int, address: int) -> None:
        self.host: NDArray[np.uint8] = np.zeros(nbytes, np.uint8)
        self.device = self.host.copy()
        self.address = address
        self._memory = memory

    def upload(self) -> None:
        self._memory.queue("upload", lambda: np.copyto(self.device, self.host))

    def download(self) -> None:
        self._memory.queue("download", lambda: np.copyto(self.host, self.device))


class FakeEvent:
    """Its time is the number of things that the queue had done when it passed."""

    def __init__(self, memory: FakeMemory) -> None:
        self._memory, self._passed = memory, 0

    def record(self) -> None:
        self._memory.queue("event", self._pass)

    def _pass(self) -> None:
        self._passed = self._memory.done

    def ms_since(self, earlier: FakeEvent) -> float:
        return float(self._passed - earlier._passed)


class FakeMemory:
    """Attributes:
    calls: what was asked, in order.
    done: how many queued things have run.
    fail_at: names of calls that raise EngineError, as a GPU that has failed does.
    captures: False plays a library that cannot capture.
    """

    name = "fake"
    stream = 7

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.done = 0
        self.fail_at: set[str] = set()
        self.captures = True
        self.buffers: dict[int, FakeBuffer] = {}
        self._queue: list[Callable[[], None]] = []
        self._captured: list[Callable[[], None]] | None = None

    def allocate(self, nbytes: int) -> FakeBuffer:
        self.note("allocate")
        address = 4096 * (len(self.buffers) + 1)
        self.buffers[address] = FakeBuffer(self, nbytes, address)
        return self.buffers[address]

    def event(self) -> FakeEvent:
        return FakeEvent(self)

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        if not self.captures:
            return None
        self.note("begin capture")
        graph: list[Callable[[], None]] = []
        self._captured = graph
        try:
            work()
        finally:
            self._captured = None
            self.note("end capture")
        return lambda: self.queue("replay", lambda: self._run(graph))

    def synchronize(self) -> None:
        self.note("synchronize")
        if self._captured is not None:
            raise EngineError("a queue that is captured cannot be waited for")
        queue, self._queue = self._queue, []
        self._run(queue)

    def queue(self, what: str, work: Callable[[], None]) -> None:
        """Put ``work`` into the queue, or into the graph that is being captured."""
        self.note(what)
        (self._queue if self._captured is None else self._captured).append(work)

    def note(self, what: str) -> None:
        """Write down a call; raises if it is one of ``fail_at``."""
        self.calls.append(what)
        if what in self.fail_at:
            raise EngineError(f"{what}: the fake GPU fails as it was told to")

    def _run(self, works: list[Callable[[], None]]) -> None:
        for work in works:
            work()
            self.done += 1
