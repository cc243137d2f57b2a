"""A place for one item, where a newer one replaces an older one that nobody took."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from jetvla.runtime.errors import CameraError

T = TypeVar("T")


class Latest(Generic[T]):
    """Hands the newest item from the thread that has it to the one that wants it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._error: CameraError | None = None

    def put(self, item: T) -> None:
        """Replace the item."""
        with self._changed:
            self._item = item
            self._changed.notify()

    def fail(self, error: CameraError) -> None:
        """End the stream; :meth:`take` raises ``error`` once the last item is taken."""
        with self._changed:
            self._error = error
            self._changed.notify()

    def take(self, timeout_s: float) -> T | None:
        """Take the item out; wait for one up to ``timeout_s``, then return None.

        Raises:
            CameraError: what :meth:`fail` was given.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._error is not None, timeout_s)
            item, self._item = self._item, None
            if item is None and self._error is not None:
                raise self._error
            return item
