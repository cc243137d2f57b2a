"""What an engine on a GPU asks of a library for device memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Buffer(Protocol):
    """The same bytes twice: page-locked in the host's memory, and in the device's."""

    @property
    def host(self) -> NDArray[np.uint8]:
        """uint8 [nbytes]; valid as long as the buffer lives."""

    @property
    def address(self) -> int:
        """On the device."""

    def upload(self) -> None:
        """Queue the copy from host to device."""

    def download(self) -> None:
        """Queue the copy from device to host."""


class Event(Protocol):
    """A moment in the queue."""

    def record(self) -> None:
        """Queue it."""

    def ms_since(self, earlier: Any) -> float:
        """Milliseconds on the device's clock since ``earlier``, both having passed."""


class DeviceMemory(Protocol):
    """One device and one queue (CUDA stream) on it; for the thread that opened it. All methods raise EngineError."""

    @property
    def name(self) -> str: ...

    @property
    def stream(self) -> int:
        """The CUDA stream's handle."""

    def allocate(self, nbytes: int) -> Buffer: ...

    def event(self) -> Event: ...

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """Record what ``work`` queues, without running it, as a CUDA graph; the result queues that graph.

        None where the library cannot capture. Other threads may use the device meanwhile.
        """

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""
