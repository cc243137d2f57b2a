"""What is measured, and the configuration that daemons of their own get for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jetvla.runtime.bundle import MANIFEST, SIGNATURE, Bundle
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.keys import create_key_pair, load_private_key, sign

_PLACES = {"video": "path", "frames": "path", "v4l2": "device", "ros": "topic"}
# Random weights ask for too much and jump from one chunk to the next; a profile does not judge them.
_UNCOUNTED = {"excess_count": 10**9, "excess_window": 10**9, "seam_ratio": 1e9}
_PICTURES = 30
_PICTURE_SIZE = (480, 640)
# More frames a second than any policy answers: each step then finds a new one.
_SATURATING_HZ = 1000.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What the user chose.

    Attributes:
        bundle: folder, or packed file.
        trusted: folder of trusted keys; None skips the signature.
        camera: ``KIND:PLACE`` of every camera; None generates pictures.
        rate_hz: of a camera that plays pictures, and of the engine where it runs alone.
        saturate: let the policy answer as fast as it can.
        engines: folder of compiled engines; None takes the configuration's default.
    """

    bundle: Path
    trusted: Path | None
    camera: str | None = None
    instruction: str = "pick up the red block"
    precision: str = "auto"
    rate_hz: float = 30.0
    saturate: bool = False
    seconds: float = 10.0
    engines: Path | None = None

    def __post_init__(self) -> None:
        kind, _, where = (self.camera or "frames:generated").partition(":")
        if kind not in _PLACES or not where:
            raise ConfigError(f"--camera {self.camera!r} must be KIND:PLACE, with KIND one of {', '.join(_PLACES)}")
        if self.saturate and kind != "frames":
            raise ConfigError(f"--saturate needs pictures faster than any {kind} gives them; use frames:FOLDER")
        if not 0.1 <= self.rate_hz <= _SATURATING_HZ:
            raise ConfigError(f"--rate {self.rate_hz:g} is out of range: 0.1 to {_SATURATING_HZ:g} Hz")
        if self.camera is not None:
            _require_there(kind, Path(where))

    def describe(self) -> dict[str, str]:
        """What decides the figures, for people."""
        kind = (self.camera or "frames:").partition(":")[0]
        pace = "as fast as the policy can" if self.saturate else f"{self.rate_hz:g} Hz"
        return {
            "camera": self.camera or f"generated pictures, {_PICTURE_SIZE[1]} x {_PICTURE_SIZE[0]}",
            "pace": pace if kind == "frames" else "the camera's",
            "instruction": self.instruction,
        }

    def write(self, bundle: Bundle, folder: Path) -> Path:
        """The configuration for daemons that keep all they have in ``folder``."""
        kind, _, where = (self.camera or f"frames:{write_pictures(folder)}").partition(":")
        files = kind in ("video", "frames")
        camera: dict[str, Any] = {"kind": kind, _PLACES[kind]: str(Path(where).resolve()) if files else where}
        camera |= {"loop": True} if files else {}
        camera |= {"fps": _SATURATING_HZ if self.saturate else self.rate_hz} if kind == "frames" else {}
        policy: dict[str, Any] = {"precision": self.precision}
        policy |= {} if self.engines is None else {"engines": str(self.engines.resolve())}
        (folder / "run").mkdir()
        place, trusted = (bundle.path, self.trusted) if self.trusted is not None else _vouched_for(bundle, folder)
        path = folder / "jetvla.yaml"
        settings = {
            "bundle": str(place.resolve()),
            "trusted": str(trusted.resolve()),
            "run_dir": "run",
            "cameras": {c.name: camera for c in bundle.manifest.cameras},
            "instruction": {"text": self.instruction, "ttl_s": None},
            "policy": policy,
            # Also a policy that asks for too much, such as one with random weights, has a speed to measure.
            "guard": {"outputs": [{"kind": "log", "path": "commands.jsonl"}], "limits": _UNCOUNTED},
        }
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return path


def _require_there(kind: str, place: Path) -> None:
    """Before anything runs: a camera that never comes would be waited for, for minutes."""
    if kind == "video" and not place.is_file():
        raise ConfigError(f"--camera: there is no video {place}; name a file")
    if kind == "frames" and not place.is_dir():
        raise ConfigError(f"--camera: there is no folder {place}; name one with pictures")
    if kind == "v4l2" and not place.is_char_device():
        raise ConfigError(f"--camera: {place} is no device; 'v4l2-ctl --list-devices' shows what is connected")


def _vouched_for(bundle: Bundle, folder: Path) -> tuple[Path, Path]:
    """The bundle's files in a folder of their own, and the folder of a key that signed them and lives as long: the
    daemons run what is signed, and the user has said that this one need not be.
    """
    place, keys = folder / "bundle", folder / "keys"
    place.mkdir()
    for name in (MANIFEST, *bundle.manifest.files):
        (place / name).symlink_to((bundle.path / name).resolve())
    private, _ = create_key_pair("profile", keys)
    (place / SIGNATURE).write_bytes(sign((place / MANIFEST).read_bytes(), load_private_key(private)))
    return place, keys


def write_pictures(folder: Path) -> Path:
    """Smooth random pictures, each another one, as a camera's would be; in a form that takes no time to decode."""
    import cv2

    pictures = folder / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for index in range(_PICTURES):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        cv2.imwrite(str(pictures / f"{index:03}.bmp"), cv2.resize(coarse, _PICTURE_SIZE[::-1]))
    return pictures
