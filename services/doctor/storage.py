"""Room for bundles, engines and the audit log, and a place for the socket between the two daemons."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.patient import Patient
from jetvla.services.operator import DEFAULT_CONFIG

# A bundle of the reference size, the one before it, and their engines.
FREE_BYTES = 2 * 10**9


HEALTH = "jetvla-health.service"


def storage(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    places = [config.bundle, config.policy.engines, *filter(None, [config.telemetry.audit])]
    disks = {place.stat().st_dev: place for place in map(_existing, places)}
    for place in disks.values():
        free = shutil.disk_usage(place).free
        yield Finding("disk", free > FREE_BYTES, f"{free / 1e9:.1f} GB free at {place}", "make room: 2 GB are needed")
    exists = config.run_dir.is_dir()
    ready = os.access(config.run_dir if exists else config.run_dir.parent, os.W_OK)
    yield Finding("run directory", ready, str(config.run_dir), "make it writable for this user, or set run_dir")
    yield from _store(patient)


def _store(patient: Patient) -> Iterator[Finding]:
    """Where the health service is installed, it must be let write to the store: it commits and goes back."""
    answer = patient.system.ask(("systemctl", "show", HEALTH, "--property=LoadState,ReadWritePaths")) or ""
    state = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    if state.get("LoadState") != "loaded" or patient.path != DEFAULT_CONFIG:
        return
    store, places = patient.config.store, state.get("ReadWritePaths", "").split()
    writable = any(store.is_relative_to(place.lstrip("-+")) for place in places)
    yield Finding(
        "store",
        writable,
        f"{store}" if writable else f"{HEALTH} may not write to {store}",
        f"sudo systemctl edit {HEALTH}: [Service] ReadWritePaths={store}; or leave store: out",
    )


def _existing(path: Path) -> Path:
    """The nearest folder that is there."""
    return path if path.exists() else _existing(path.parent)
