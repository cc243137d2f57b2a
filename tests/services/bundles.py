"""Signed bundles of any version, for tests of what carries and keeps them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from jetvla.runtime.bundle import MANIFEST, SIGNATURE, digest_files
from jetvla.runtime.keys import create_key_pair, load_private_key, sign

TINY = Path(__file__).parent.parent / "data" / "tiny-bundle"


class Maker:
    """Copies of the tiny bundle, signed by the key ``test`` in the folder ``keys``."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.keys = place / "keys"
        self.key, _ = create_key_pair("test", self.keys)

    def __call__(self, version: int, wrong: bool = False, key: Path | None = None) -> Path:
        """A folder; the golden samples of a ``wrong`` one are not what its graphs compute."""
        folder = self._place / f"made-{version}{'-wrong' if wrong else ''}{'' if key is None else '-strange'}"
        shutil.copytree(TINY, folder)
        if wrong:
            with np.load(folder / "golden.npz") as file:
                arrays = dict(file)
            np.savez(folder / "golden.npz", **{**arrays, "actions": arrays["actions"] + np.float32(5)})
        self.seal(folder, key, version=version)
        return folder

    def seal(self, folder: Path, key: Path | None = None, **fields: object) -> None:
        """Write the manifest anew for the files that are there, and sign it."""
        manifest = json.loads((folder / MANIFEST).read_text())
        files = {name: spec.model_dump() for name, spec in digest_files(folder).items()}
        raw = json.dumps({**manifest, "files": files, **fields}).encode()
        (folder / MANIFEST).write_bytes(raw)
        (folder / SIGNATURE).write_bytes(sign(raw, load_private_key(key or self.key)))
