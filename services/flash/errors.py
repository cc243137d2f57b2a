"""What stops a flash."""

from __future__ import annotations

from jetvla.runtime.errors import JetvlaError


class FlashError(JetvlaError):
    """A flash was refused, or failed; nothing is flashed after it."""
