"""HTTP that neither waits for ever nor takes more than it was told to expect."""

from __future__ import annotations

import http.client
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient import FetcherInterface

from jetvla.runtime.errors import FleetError

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Patience:
    """How slow a server may be.

    Attributes:
        silence_s: longest time without a byte.
        grace_s: of every file, before ``bytes_per_s`` is asked for on average.
    """

    silence_s: float = 30.0
    grace_s: float = 60.0
    bytes_per_s: float = 10_000.0


class Fetcher(FetcherInterface):
    """Over HTTP or HTTPS, with the proxies and certificates of the system.

    A server that sends a byte now and then would keep any time-out between two bytes from running out; the average rate
    is what ends it.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def _fetch(self, url: str) -> Iterator[bytes]:
        began_s = time.monotonic()
        try:
            response = urllib.request.urlopen(url, timeout=self._patience.silence_s)
        except HTTPError as error:
            error.close()
            raise DownloadHTTPError(f"HTTP status {error.code} for {url}", error.code) from error
        except TimeoutError as error:
            raise SlowRetrievalError(f"{url}: no answer within {self._patience.silence_s:g} s") from error
        except URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise SlowRetrievalError(f"{url}: no answer within {self._patience.silence_s:g} s") from error
            raise DownloadError(f"{url}: {error.reason}") from error
        return self._pieces(url, response, began_s)

    def _pieces(self, url: str, response: http.client.HTTPResponse, began_s: float) -> Iterator[bytes]:
        received = 0
        with response:
            while piece := self._piece(url, response):
                received += len(piece)
                allowed_s = self._patience.grace_s + received / self._patience.bytes_per_s
                if time.monotonic() - began_s > allowed_s:
                    raise SlowRetrievalError(f"{url}: {received} bytes in {allowed_s:.0f} s")
                yield piece

    def _piece(self, url: str, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read1(_PIECE)
        except TimeoutError as error:
            raise SlowRetrievalError(f"{url}: nothing for {self._patience.silence_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise DownloadError(f"{url}: {error}") from error


def check_url(url: str) -> str:
    """``url`` without a slash at its end; FleetError unless it is one of HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise FleetError(f"{url!r} is no address of a web server; give it as https://HOST/PATH")
    return url.rstrip("/")
