"""The same work again and again, queued as one CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable

from jetvla.runtime.errors import EngineError
from jetvla.runtime.memory.base import DeviceMemory

log = logging.getLogger("jetvla.engine")


class Replay:
    """Queues ``work``: the first time as it is, from the second time on as a graph, where the memory can capture.

    A graph holds the addresses and shapes that it was captured with. ``bound`` states them; when it differs from
    the last call's, the work is queued as it is and captured anew.
    """

    def __init__(self, memory: DeviceMemory, work: Callable[[], None]) -> None:
        self._memory, self._work = memory, work
        self._bound: Hashable = None
        self._graph: Callable[[], None] | None = None

    @property
    def is_graph(self) -> bool:
        """Whether the next call replays a graph."""
        return self._graph is not None

    def __call__(self, bound: Hashable) -> None:
        """Queue the work once.

        Raises:
            EngineError: if it cannot be queued. The next call then starts over.
        """
        known = bound == self._bound
        self._bound = None
        if known:
            (self._graph or self._work)()
        else:
            self._graph = None
            self._work()
            # Libraries allocate in the first run, which must not happen in a capture.
            self._memory.synchronize()
            self._graph = self._capture()
        self._bound = bound

    def _capture(self) -> Callable[[], None] | None:
        try:
            return self._memory.capture(self._work)
        except EngineError as error:
            log.warning("no CUDA graph can be made of this engine, so every step is queued piece by piece: %s", error)
            return None
