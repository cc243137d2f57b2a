"""Which of a bundle's step graphs runs."""

from __future__ import annotations

from typing import Literal

from jetvla.runtime.errors import EngineError
from jetvla.runtime.manifest import Manifest, Precision

# What ``auto`` takes: the first that the bundle has. ``build`` leaves out what is not accurate enough.
_PREFERRED: dict[str, tuple[Precision, ...]] = {
    "onnxruntime": ("int8-fp32", "fp32"),
    "null": ("fp32",),
}


def choose_precision(manifest: Manifest, wanted: Precision | Literal["auto"], backend: str) -> Precision:
    """The precision to run on ``backend``.

    Raises:
        EngineError: if the bundle lacks the one that is ``wanted``; names those that it has.
    """
    present = manifest.step_precisions
    if wanted == "auto":
        return next(p for p in _PREFERRED[backend] if p in present)
    if wanted not in present:
        raise EngineError(
            f"the bundle has no step graph in {wanted}, only in {', '.join(present)}; "
            f"set policy.precision to one of these, or build the bundle with --precision {wanted}"
        )
    return wanted
