"""Compiled engines that no bundle of the store will need again."""

from __future__ import annotations

from collections.abc import Callable

from jetvla.runtime.engine_cache import EngineCache
from jetvla.runtime.errors import EngineError
from jetvla.services.engine_owner import as_owner
from jetvla.services.store.store import Store


def remove_unneeded(store: Store, cache: EngineCache, say: Callable[[str], None]) -> None:
    """Remove the engines, for whatever state of the machine, of bundles that were installed here once and are not now.

    What the store never had may belong to a bundle elsewhere, and stays. Only for the holder of the store's lock: who
    installs a bundle again has its engine before its folder. A cache that refuses keeps no bundle from being changed.
    """
    gone = {entry.digest for entry in store.history.entries()} - {bundle.digest for bundle in store.installed()}
    if not gone or not cache.root.is_dir():
        return
    try:
        with as_owner(cache.root):
            count = cache.forget(gone)
    except EngineError as error:
        say(f"old engines stay: {error}")
        return
    if count:
        say(f"removed {count} compiled engine{'s' if count > 1 else ''} of bundles that are not installed any more")
