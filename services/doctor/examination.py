"""Every check, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.services.doctor.accounts import accounts
from jetvla.services.doctor.cameras import cameras
from jetvla.services.doctor.engine import engine
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.gpu import cuda, jetpack, tensorrt
from jetvla.services.doctor.libraries import libraries
from jetvla.services.doctor.patient import Check, MachineCheck, Patient
from jetvla.services.doctor.power import power
from jetvla.services.doctor.ros import ros
from jetvla.services.doctor.scheduling import scheduling
from jetvla.services.doctor.storage import storage
from jetvla.services.doctor.system import System
from jetvla.services.doctor.trust import bundle, keys
from jetvla.services.doctor.units import units

_Seen = TypeVar("_Seen", System, Patient)

CONFIGURATION = "configuration"
MACHINE: tuple[MachineCheck, ...] = (libraries, jetpack, power, accounts, units, scheduling)
CONFIGURED: tuple[Check, ...] = (cuda, tensorrt, keys, bundle, engine, cameras, ros, storage)


def examine(config_path: Path, system: System) -> list[Finding]:
    """Look at the machine, and at what ``config_path`` asks of it. What may not be looked at is a finding too."""
    findings = [f for check in MACHINE for f in _guarded(check, system)]
    try:
        config = load_config(config_path)
    except JetvlaError as error:
        return [*findings, Finding(CONFIGURATION, False, str(error), f"write or correct {config_path}")]
    findings.append(Finding(CONFIGURATION, True, str(config_path)))
    patient = Patient(system, config, config_path)
    return findings + [f for check in CONFIGURED for f in _guarded(check, patient)]


def all_ready(findings: list[Finding]) -> bool:
    """Whether nothing that is needed is missing."""
    return all(finding.ready for finding in findings if finding.needed)


def _guarded(check: Callable[[_Seen], Iterator[Finding]], seen: _Seen) -> Iterator[Finding]:
    """One check that fails never hides the others."""
    name = check.__name__
    try:
        yield from check(seen)
    except OSError as error:
        detail = f"{error.filename or name} cannot be looked at: {error.strerror or error}"
        yield Finding(name, False, detail, "run it with sudo, or as an account that may read it")
    except Exception as error:  # noqa: BLE001
        said = " ".join(f"{type(error).__name__}: {error}".split())
        yield Finding(name, False, f"could not be looked at: {said}", "tell the maintainers, with this line")
