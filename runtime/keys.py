"""Ed25519 keys (RFC 8032) that sign bundles, in PEM files: PKCS #8 private, SubjectPublicKeyInfo public."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from jetvla.runtime.errors import BundleError, ConfigError

PRIVATE_SUFFIX = ".key"
PUBLIC_SUFFIX = ".pub"
NAME_ANOTHER = ", or name another with --trusted DIR"


@dataclass(frozen=True)
class TrustedKey:
    """A public key whose bundles may run; ``name`` is its file's stem."""

    name: str
    id: str
    public: Ed25519PublicKey


def key_id(public: Ed25519PublicKey) -> str:
    """First 16 hexadecimal digits of SHA-256 of the raw public key: short enough to read aloud."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def create_key_pair(name: str, directory: Path) -> tuple[Path, Path]:
    """Write ``name.key`` (mode 0600) and ``name.pub`` into ``directory``, both or none; neither may exist yet.

    Raises:
        ConfigError: if one does, ``name`` is no plain file name, or the disk refuses.
    """
    if name in ("", ".", "..") or "/" in name or not name.isprintable():
        raise ConfigError(
            f"{name!r} is no name of a key; give a plain file name such as robots, and a folder with --dir"
        )
    private_path, public_path = directory / f"{name}{PRIVATE_SUFFIX}", directory / f"{name}{PUBLIC_SUFFIX}"
    private = Ed25519PrivateKey.generate()
    encoded = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        for path in (private_path, public_path):
            if path.exists():
                raise ConfigError(f"{path} is already there; choose another name, or move it away")
        directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:
            _put_new(private_path, encoded, 0o600, undo)
            _put_new(public_path, public, 0o644, undo)
            undo.pop_all()
    except OSError as error:
        raise ConfigError(
            f"the key {name} cannot be written into {directory}: {error.strerror}; make room, or choose another folder"
        ) from error
    return private_path, public_path


def _put_new(path: Path, content: bytes, mode: int, undo: ExitStack) -> None:
    """Write a file that is not there yet; ``undo`` removes it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    undo.callback(path.unlink, missing_ok=True)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key; ConfigError names the file if it is missing or not Ed25519."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"cannot read the private key {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is not an unencrypted PEM private key; make one with 'jetvla keys new'") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an Ed25519 key; make one with 'jetvla keys new'")
    return key


def load_public_key(path: Path) -> TrustedKey:
    """Read one public key; ConfigError names the file if it is missing or not Ed25519."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read the public key {path}: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is not a PEM public key; remove it or replace it") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} is not an Ed25519 public key; remove it or replace it")
    return TrustedKey(path.stem, key_id(key), key)


def load_trusted(directory: Path, remedy: str = "") -> tuple[TrustedKey, ...]:
    """Every ``*.pub`` of ``directory``, sorted by name.

    Args:
        remedy: what else can be done if there is no such directory, such as :data:`NAME_ANOTHER`.

    Raises:
        ConfigError: there is no such directory, or a file in it is no key.
    """
    if not directory.is_dir():
        raise ConfigError(f"no directory of trusted keys at {directory}; make it and copy a .pub file into it{remedy}")
    return tuple(load_public_key(path) for path in sorted(directory.glob(f"*{PUBLIC_SUFFIX}")))


def sign(message: bytes, key: Ed25519PrivateKey) -> bytes:
    """64-byte signature of ``message``."""
    return key.sign(message)


def find_signer(message: bytes, signature: bytes, trusted: tuple[TrustedKey, ...]) -> TrustedKey:
    """The trusted key that made ``signature``; BundleError if none did."""
    for key in trusted:
        try:
            key.public.verify(signature, message)
        except InvalidSignature:
            continue
        return key
    known = ", ".join(f"{k.name} ({k.id})" for k in trusted) or "none at all"
    raise BundleError(
        f"manifest.sig: not signed by a trusted key (trusted: {known}); "
        "copy the signer's .pub file into the directory of trusted keys, if you trust it; or the manifest or its "
        "signature was altered or damaged: copy the bundle again"
    )
