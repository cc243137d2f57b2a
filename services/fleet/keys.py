"""The folder of private keys that sign a repository: ``ROLE-N.key``, readable by their owner alone."""

from __future__ import annotations

import stat
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from jetvla.runtime.errors import FleetError
from jetvla.runtime.keys import PRIVATE_SUFFIX, create_key_pair, load_private_key


class KeyFolder:
    """A role's newest key is the one with the highest N. Keys may be moved away and brought back by need: ``root`` is
    needed to begin, to rotate, and once a year, and belongs on a medium in a safe.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: list[Path] = []

    def create(self, role: str) -> CryptoSigner:
        """Make and keep another key for ``role``; the folder is made too."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        taken = [int(path.stem.rpartition("-")[2]) for path in self._files(role)]
        private, public = create_key_pair(f"{role}-{max(taken, default=0) + 1}", self.path)
        self._made += (private, public)
        return CryptoSigner(load_private_key(private))

    def remove_made(self) -> None:
        """Remove what :meth:`create` made: nothing that these keys signed was kept."""
        for path in self._made:
            path.unlink(missing_ok=True)
        self._made.clear()

    def signer(self, role: str, key_id: str) -> CryptoSigner:
        """The key of ``role`` that the repository knows by ``key_id``.

        Raises:
            FleetError: if it is not here, or others may read it.
        """
        signer = self.find(role, key_id)
        if signer is None:
            raise FleetError(
                f"{self.path} holds no key of the role {role} that the repository knows; bring {role}-N.key there"
            )
        return signer

    def find(self, role: str, key_id: str) -> CryptoSigner | None:
        """As :meth:`signer`; None if it is not here."""
        for path in self._files(role):
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise FleetError(f"{path} may be read by others; rotate that key, or, if nobody has: chmod 600 {path}")
            signer = CryptoSigner(load_private_key(path))
            if signer.public_key.keyid == key_id:
                return signer
        return None

    def _files(self, role: str) -> list[Path]:
        return sorted(p for p in self.path.glob(f"{role}-*{PRIVATE_SUFFIX}") if p.stem.rpartition("-")[2].isdigit())
