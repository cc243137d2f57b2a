"""Prepares a demonstration as a user would: with jetvla's own commands, each printed before it runs."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import jetvla.engines
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.manifest import Manifest
from jetvla.services.program import program

ZOO = Path(jetvla.engines.__file__).parent / "zoo" / "table-robot"
PRECISION = "int8-fp32"
CALIBRATION_EPISODES = 32
_MARK = ".jetvla-demo"

CONFIG = """\
bundle: bundle
trusted: trusted.d
run_dir: run
cameras:
  {camera}: {{kind: ros, topic: /camera/image_raw}}
policy: {{precision: {precision}}}
guard:
  outputs:
    - {{kind: twist, topic: /cmd_vel, frame: base_link}}
    - {{kind: gripper, topic: /gripper_command, dimension: gripper}}
"""


@dataclass(frozen=True)
class Setting:
    """A prepared folder: configuration, bundle, trusted key."""

    workdir: Path
    config: Path
    manifest: Manifest

    @property
    def log(self) -> Path:
        """What the daemons say."""
        return self.workdir / "daemons.log"

    @property
    def int8_error(self) -> float:
        """Action error of INT8 against FP32 on held-out episodes, as a share of the range."""
        return next(r.relative_error for r in self.manifest.precision if r.precision == PRECISION)


def prepare(workdir: Path, checkpoint: Path | None) -> Setting:
    """Record episodes, make a key, build and verify a bundle, write the configuration.

    Raises:
        JetvlaError: if ``workdir`` holds something that is not a former demonstration, or a command fails.
    """
    source = checkpoint or ZOO
    _empty(workdir)
    _jetvla(
        "simulate",
        "--record",
        workdir / "episodes",
        "--split",
        "held-out",
        "--episodes",
        CALIBRATION_EPISODES,
    )
    _jetvla("keys", "new", "demo", "--dir", workdir / "keys")
    (workdir / "trusted.d").mkdir()
    shutil.copy(workdir / "keys/demo.pub", workdir / "trusted.d")
    options = ("--precision", "int8", "--target", "cpu", "--key", workdir / "keys/demo.key")
    _jetvla("build", source, "--episodes", workdir / "episodes", "-o", workdir / "bundle", *options)
    _jetvla("verify", workdir / "bundle", "--trusted", workdir / "trusted.d")
    manifest = Manifest.model_validate(json.loads((workdir / "bundle/manifest.json").read_text()))
    config = workdir / "jetvla.yaml"
    config.write_text(CONFIG.format(camera=manifest.cameras[0].name, precision=PRECISION))
    return Setting(workdir, config, manifest)


def jetvla_command(*words: object) -> list[str]:
    """``jetvla`` of this very installation."""
    return [*program("jetvla.services"), *map(str, words)]


def _jetvla(*words: object) -> None:
    print(f"$ jetvla {shlex.join(map(str, words))}", flush=True)
    status = subprocess.run(jetvla_command(*words)).returncode
    if status != 0:
        raise JetvlaError(f"'jetvla {words[0]}' ended with status {status}; its message is above")


def _empty(workdir: Path) -> None:
    if workdir.exists() and any(workdir.iterdir()) and not (workdir / _MARK).exists():
        raise JetvlaError(f"{workdir} holds something else; choose another --workdir")
    shutil.rmtree(workdir, ignore_errors=True)
    (workdir / "run").mkdir(parents=True)
    (workdir / _MARK).touch()
