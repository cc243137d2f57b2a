"""Updates of many devices from one static web server that need not be trusted: TUF, The Update Framework.

The repository's metadata is signed by four roles (root, targets, snapshot, timestamp) and expires. So a server, or who
sits between, can neither alter a bundle nor offer an old one, mix releases, or hold updates back unnoticed.
"""

from __future__ import annotations

from importlib.util import find_spec

from jetvla.runtime.errors import MissingDependency

if find_spec("tuf") is None:
    raise MissingDependency("tuf", "a fleet", "pip install 'jetvla[fleet]'")
