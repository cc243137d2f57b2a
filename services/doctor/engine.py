"""Was the bundle compiled for this machine, as it is now?"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from jetvla.runtime.backends import load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.engine_cache import EngineCache, differences, engine_key
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.keys import load_trusted
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.patient import Patient
from jetvla.services.operator import DEFAULT_CONFIG

_SERVICE = "/usr/lib/systemd/system/jetvla-compile.service"


def engine(patient: Patient) -> Iterator[Finding]:
    """TensorRT runs nothing that was not compiled; ONNX Runtime takes the bundle's own graphs."""
    config = patient.config
    # On an appliance the policy's account compiles: what anybody else makes is in its way.
    appliance = patient.path == DEFAULT_CONFIG and patient.system.path(_SERVICE).exists()
    by_hand = f"jetvla compile --config {shlex.quote(str(patient.path))}"
    remedy = "sudo systemctl start jetvla-compile" if appliance else by_hand
    try:
        opened = Bundle.open(config.bundle, load_trusted(config.trusted))
    except JetvlaError:
        yield Finding("engine", False, "there is no bundle to have one of", remedy, needed=False)
        return
    try:
        backend = load_backend(config.policy.backend)
        key = engine_key(opened, backend)
        cache = EngineCache(config.policy.engines)
        compiled = cache.find(key)
    except JetvlaError as error:
        yield Finding("engine", False, str(error), remedy)
        return
    if backend.name == "tensorrt" and not any(r.precision.endswith("fp16") for r in opened.manifest.precision):
        why = "the bundle has no graph in FP16, for it was built for a CPU"
        yield Finding(
            "graphs for a GPU", False, why, "build it again with 'jetvla build --target jetson'", needed=False
        )
    if compiled is not None:
        yield Finding("engine", True, f"{compiled.entry.candidate} on {backend.name} {backend.version()}")
        return
    if (former := cache.former(key)) is not None:
        why = f"the one of another state of this machine is used ({differences(key, former)})"
        yield Finding("engine", False, why, remedy, needed=False)
        return
    other = any(config.policy.engines.glob("*/entry.json"))
    why = "none for this bundle, library, driver and power mode" if other else "none was compiled here"
    yield Finding("engine", False, why, remedy, needed=backend.name == "tensorrt")
