"""Serving metrics to Prometheus over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from jetvla.runtime.errors import ConfigError
from jetvla.runtime.telemetry.address import Address


@contextmanager
def serving(collector: Collector, address: Address) -> Iterator[None]:
    """Serve the metrics of ``collector`` meanwhile, in threads.

    Raises:
        ConfigError: if ``address`` cannot be listened on.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    try:
        server, thread = start_http_server(address.port, address.host, registry)
    except OSError as error:
        raise ConfigError(
            f"telemetry.metrics: nothing can be served at {address}: {error.strerror}; choose another address, end "
            "what uses it, or switch metrics off by null"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
