"""A folder in which both daemons run a bundle: a signed copy, pictures for its cameras, a configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from jetvla.engines.bench.loop import SENTENCE
from jetvla.runtime.bundle import MANIFEST, SIGNATURE, Bundle
from jetvla.runtime.keys import create_key_pair, load_private_key, sign
from jetvla.services.profiling.setting import write_pictures

# Numbers of ROS domains on which nobody else talks, probably.
_DOMAINS = 100


@dataclass(frozen=True)
class Site:
    """``config`` runs; ``picture`` is one that the cameras see; ``log`` takes what the daemons say."""

    config: Path
    picture: Path
    log: Path


@contextmanager
def site(bundle: Path, engines: Path) -> Iterator[Site]:
    """Make one beside ``bundle``, whose files it shares, and remove it in the end.

    The guard publishes on ROS 2, keeps an audit log and stays disarmed: its tick is the same, and nothing moves.

    Args:
        engines: where ``jetvla compile`` keeps what it made of ``bundle``.
    """
    with TemporaryDirectory(prefix=".bench-", dir=bundle.resolve().parent) as name:
        folder = Path(name)
        key, _ = create_key_pair("bench", folder / "keys")
        (folder / "run").mkdir()
        (folder / "bundle").mkdir()
        for file in bundle.iterdir():
            if file.name != SIGNATURE:
                os.link(file, folder / "bundle" / file.name)
        (folder / "bundle" / SIGNATURE).write_bytes(sign((bundle / MANIFEST).read_bytes(), load_private_key(key)))
        pictures = write_pictures(folder)
        cameras = Bundle.open(bundle, None).manifest.cameras
        config = folder / "jetvla.yaml"
        config.write_text(yaml.safe_dump(_settings([c.name for c in cameras], pictures, engines)), encoding="utf-8")
        yield Site(config, min(pictures.iterdir()), folder / "daemons.log")


def _settings(cameras: list[str], pictures: Path, engines: Path) -> dict[str, object]:
    camera = {"kind": "frames", "path": str(pictures), "loop": True}
    return {
        "bundle": "bundle",
        "trusted": "keys",
        "run_dir": "run",
        "cameras": dict.fromkeys(cameras, camera),
        "instruction": {"text": SENTENCE, "ttl_s": None},
        "policy": {"engines": str(engines.resolve())},
        "ros": {"domain_id": 1 + os.getpid() % _DOMAINS},
        "telemetry": {"audit": "audit"},
    }
