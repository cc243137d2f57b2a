"""Signing a bundle that is there already."""

from __future__ import annotations

from pathlib import Path

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import MANIFEST, SIGNATURE, Bundle
from jetvla.runtime.disk import put_file
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.keys import load_private_key, sign
from jetvla.services.bundle_source import opened


def sign_bundle(path: Path, key: Path, overwrite: bool) -> Bundle:
    """Sign the bundle at ``path``, a folder or one packed file; the signature appears whole or not at all.

    Raises:
        BundleError: if its files are not those of its manifest.
        ConfigError: if the key is none, the bundle is signed and ``overwrite`` is not set, or the disk refuses.
    """
    private = load_private_key(key)
    with opened(path, None) as bundle:
        if (bundle.path / SIGNATURE).exists() and not overwrite:
            raise ConfigError(f"{path} is signed already; add --overwrite to replace its signature")
        signature = sign((bundle.path / MANIFEST).read_bytes(), private)
        try:
            if path.is_file():
                (bundle.path / SIGNATURE).write_bytes(signature)
                pack(bundle.path, path)
            else:
                # What a kill leaves lies beside the bundle: within, it would be a file that does not belong there.
                put_file(bundle.path / SIGNATURE, signature, aside=bundle.path.resolve().parent)
        except OSError as error:
            where = error.filename or bundle.path.resolve().parent
            raise ConfigError(f"{path} cannot be signed ({error.strerror}: {where}); make room there") from error
    return bundle
