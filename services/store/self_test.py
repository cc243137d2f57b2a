"""The golden samples of a bundle that is not running yet, on the engine that would run it here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.errors import StoreError

SelfTest = Callable[[Bundle], str]


def golden_test(config: PolicyConfig, say: Callable[[str], None]) -> SelfTest:
    """The policy's own self-test with ``config``'s backend, precision, threads and engines.

    A backend that runs compiled engines alone gets them compiled first; they are kept, for the policy will need them,
    and belong to whom the folder of the engines belongs to.
    """

    def test(bundle: Bundle) -> str:
        """What came out, for people; StoreError if the samples failed, EngineError if the engine did."""
        from jetvla.runtime.clock import MonotonicClock
        from jetvla.runtime.policy.golden import run_golden
        from jetvla.runtime.policy.model import open_model

        _compile_if_needed(bundle, config, say)
        model = open_model(bundle, config, MonotonicClock())
        golden = run_golden(model)
        figures = (
            f"error {golden.error:.3g} of at most {golden.tolerance:.3g} in {model.precision}, {model.key.backend}"
        )
        if not golden.passed:
            raise StoreError(
                f"{bundle.manifest.name} version {bundle.manifest.version} does not compute its golden samples on this "
                f"machine ({figures}); it is not installed: build it again, or report the backend's version"
            )
        return figures

    return test


def check_at_rest(status: Path) -> None:
    """Refuse to compute beside a policy whose robot moves, for its chunks would be late, and the guard would stop it.

    Args:
        status: where the guard reports.

    Raises:
        StoreError: naming what to do.
    """
    from jetvla.runtime.clock import MonotonicClock
    from jetvla.services.store.health import MOVING
    from jetvla.services.store.watch import fresh_status

    report = fresh_status(status, MonotonicClock())
    if report is not None and report.state in MOVING:
        raise StoreError(
            f"the robot is {report.state}, and golden samples that run beside its policy make it stop for late chunks; "
            "disarm it first with 'jetvla disarm', or add --while-armed"
        )


def _compile_if_needed(bundle: Bundle, config: PolicyConfig, say: Callable[[str], None]) -> None:
    from jetvla.runtime.backends import load_backend
    from jetvla.runtime.engine_cache import EngineCache, engine_key

    backend, cache = load_backend(config.backend), EngineCache(config.engines)
    if backend.runs_onnx or cache.find(engine_key(bundle, backend)) is not None:
        return
    from jetvla.engines.compile import compile_bundle
    from jetvla.engines.compile_contender import CompileOptions
    from jetvla.services.engine_owner import as_owner

    say(f"{backend.name} runs compiled engines alone; compiling takes minutes")
    threads = None if config.threads == "auto" else config.threads
    with as_owner(config.engines):
        compile_bundle(bundle, backend, cache, CompileOptions(threads=threads), say, lambda _: None)
