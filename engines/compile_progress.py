"""How far a long TensorRT build is, and how it is broken off."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from jetvla.runtime.backends.tensorrt import library

if TYPE_CHECKING:
    import tensorrt as trt


class Interrupts:
    """Notes signals while a C++ library has the main thread, and raises KeyboardInterrupt after it.

    Python's handlers run between two instructions of the main thread, so not during such a call; and an exception
    inside a callback would have to pass through the library. The pipe is written when the signal comes.
    """

    def __enter__(self) -> Interrupts:
        self._main = threading.current_thread() is threading.main_thread()
        self._read, self._write = os.pipe()
        if self._main:
            os.set_blocking(self._write, False)
            self._old_pipe = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._old_handler = signal.signal(signal.SIGINT, lambda *_: None)
        return self

    def came(self) -> bool:
        """Whether one came; may be asked from any thread."""
        return bool(select.select([self._read], [], [], 0)[0])

    def __exit__(self, *_: object) -> None:
        if self._main:
            signal.set_wakeup_fd(self._old_pipe)
            signal.signal(signal.SIGINT, self._old_handler)
        came = self.came()
        os.close(self._read)
        os.close(self._write)
        if came:
            raise KeyboardInterrupt


def open_monitor(show: Callable[[str], None], interrupts: Interrupts) -> trt.IProgressMonitor:
    """Shows the outermost phase of a build and how much of it is done; stops the build when interrupted."""
    trt = library()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]
        """Called from any of the builder's threads."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._outermost, self._steps = "", 0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self._outermost, self._steps = phase_name, num_steps
                show(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name == self._outermost and self._steps > 0:
                show(f"{phase_name} {100 * (step + 1) // self._steps} %")
            return not interrupts.came()

        def phase_finish(self, phase_name: str) -> None:
            if phase_name == self._outermost:
                show(f"{phase_name}, done")

    return Monitor()
