"""Policy families: one table row each, imported only when chosen."""

from __future__ import annotations

import importlib

from jetvla.engines.families.family import PolicyFamily
from jetvla.runtime.errors import ConfigError

# Name in a checkpoint's config.yaml, and the module whose FAMILY implements it.
FAMILIES: dict[str, str] = {
    "end_to_end": "jetvla.engines.families.end_to_end.family",
    "act": "jetvla.engines.families.act.family",
}


def find_family(name: str) -> PolicyFamily:
    """The family called ``name``; ConfigError lists the known ones."""
    if name not in FAMILIES:
        raise ConfigError(f"family: {name!r} is unknown; choose one of: {', '.join(FAMILIES)}")
    family: PolicyFamily = importlib.import_module(FAMILIES[name]).FAMILY
    return family
