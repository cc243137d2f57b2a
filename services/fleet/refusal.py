"""What a refusal of TUF means, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from tuf.api import exceptions as tuf
from tuf.api.serialization import DeserializationError

from jetvla.runtime.errors import FleetError

_ROOT_EXPIRED = (
    "its root has expired; bring the key root-N.key to the others, run 'jetvla fleet refresh' there, and check the "
    "clock of this device, which says {now}"
)
# The first that fits; more special ones come first.
_MEANINGS: tuple[tuple[type[Exception], str], ...] = (
    (
        tuf.ExpiredMetadataError,
        "its metadata has expired, so updates may be held back; run 'jetvla fleet refresh' there, and check the clock "
        "of this device, which says {now}",
    ),
    (
        tuf.BadVersionNumberError,
        "its metadata is older than what this device has seen, or of different releases; restore the newest repository",
    ),
    (tuf.UnsignedMetadataError, "its metadata is not signed by keys that this device trusts; is it the right fleet?"),
    (tuf.LengthOrHashMismatchError, "a file is altered or cut short; try again, or upload the repository again"),
    (tuf.RepositoryError, "its metadata is not in order; upload the repository again"),
    (DeserializationError, "its metadata is not readable; upload the repository again"),
    (tuf.DownloadHTTPError, "the server has not got a file; check the address, and upload the repository again"),
    (tuf.SlowRetrievalError, "the server is too slow; try again later"),
    (tuf.DownloadLengthMismatchError, "the server sends more than it should; upload the repository again"),
    (tuf.DownloadError, "the server cannot be reached or broke off; try again later"),
)


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn what TUF raises within the block into a FleetError about the repository at ``url``."""
    try:
        yield
    except tuple(kind for kind, _ in _MEANINGS) as error:
        meaning = next(meaning for kind, meaning in _MEANINGS if isinstance(error, kind))
        if isinstance(error, tuf.ExpiredMetadataError) and "root.json" in str(error):
            meaning = _ROOT_EXPIRED
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        detail = f"{error}" if str(error) else type(error).__name__
        raise FleetError(f"nothing is installed from {url}: {meaning.format(now=now)} ({detail})") from error
