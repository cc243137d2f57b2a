"""Whom the robot trusts, and whether it has a bundle of theirs."""

from __future__ import annotations

from collections.abc import Iterator

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.keys import PRIVATE_SUFFIX, load_trusted
from jetvla.services.bundle_fit import refusals, unsent
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.patient import Patient


def keys(patient: Patient) -> Iterator[Finding]:
    folder = patient.config.trusted
    remedy = f"copy a .pub file into {folder}"
    try:
        trusted = load_trusted(folder)
    except JetvlaError as error:
        yield Finding("trusted keys", False, str(error), remedy)
        return
    if not trusted:
        # A folder that may not be read looks empty; this says so.
        next(folder.iterdir(), None)
    names = ", ".join(f"{key.name} ({key.id})" for key in trusted)
    yield Finding("trusted keys", bool(trusted), names or "none", remedy)
    folders = (folder, patient.system.path("/etc/jetvla"))
    private = {path for place in folders for path in place.rglob(f"*{PRIVATE_SUFFIX}")}
    if private:
        found = ", ".join(sorted(map(str, private)))
        yield Finding("private keys", False, found, "a robot needs none: move them to the build host", needed=False)


def bundle(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    try:
        opened = Bundle.open(config.bundle, load_trusted(config.trusted))
    except JetvlaError as error:
        yield Finding("bundle", False, str(error), "make one with 'jetvla build', and sign it")
        return
    m = opened.manifest
    detail = f"{m.name} version {m.version} ({opened.digest[:16]}): {', '.join(m.step_precisions)}"
    missing = [camera.name for camera in m.cameras if camera.name not in config.cameras]
    yield Finding("bundle", not missing, detail, f"configure the cameras {', '.join(missing)}")
    yield from _fit(patient, opened)


def _fit(patient: Patient, opened: Bundle) -> Iterator[Finding]:
    """What policy and guard would refuse when they start, and limits that hardly limit."""
    config = patient.config
    for doubt in config.guard.limits.doubts():
        yield Finding("limits", False, doubt, f"correct {patient.path}, if it is not", needed=False)
    if refused := refusals(config, opened):
        for why in refused:
            yield Finding("bundle and configuration", False, why, f"correct {patient.path}")
        return
    if note := unsent(config, opened.manifest.action):
        yield Finding("bundle and configuration", False, note, "add an output, if the robot has them", needed=False)
        return
    yield Finding("bundle and configuration", True, "cameras, outputs, feedback, limits and state are of this bundle")
