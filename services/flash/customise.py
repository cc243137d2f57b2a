"""What goes into the root file system: the package, whom it trusts, the bundle, its units, and a user."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.bundle import digest_file
from jetvla.runtime.keys import PUBLIC_SUFFIX, TrustedKey, load_public_key
from jetvla.services.flash.errors import FlashError
from jetvla.services.flash.password import Password
from jetvla.services.flash.preflight import CREATE_USER
from jetvla.services.flash.root import RootFilesystem, Runner, run_program
from jetvla.services.store.install import Terms, install
from jetvla.services.store.source import open_source, verify
from jetvla.services.store.store import Store

PACKAGE = "jetvla"
_BUNDLES = Path("var/lib/jetvla/bundles")
_TRUSTED = Path("etc/jetvla/trusted.d")
_DEB = Path("var/tmp/jetvla.deb")
_NO_START = Path("usr/sbin/policy-rc.d")
_SOURCES = Path("etc/apt/sources.list.d")
# In NVIDIA's list until flashing puts the chip's name there; apt would ask the server for it, and fail.
_NO_CHIP_YET = "<SOC>"
_UNITS = Path("etc/systemd/system")
_UNIT = re.compile(r"/(?:usr/)?lib/systemd/system/(jetvla[\w@-]*\.(?:service|target|socket|timer|path))")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PRINTED_PASSWORD = re.compile(r"(Password - ).*?(, Autologin|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Customisation:
    """What is asked for, checked by :func:`checked`.

    Attributes:
        deb: the package for arm64.
        bundle: folder or ``.jetvla`` file; None leaves the robot without one.
        key: public key that the robot is to trust.
        user: name of the account to make.
    """

    deb: Path
    bundle: Path | None
    key: Path | None
    user: str

    def digest(self) -> str:
        """SHA-256 of everything that is put into the root file system, but for the password."""
        sha = hashlib.sha256(self.user.encode())
        for path in (self.deb, self.bundle, self.key):
            sha.update(b"\0")
            for file in [] if path is None else sorted(path.iterdir()) if path.is_dir() else [path]:
                sha.update(digest_file(file).sha256.encode())
        return sha.hexdigest()


def checked(wanted: Customisation, run: Runner = run_program) -> Customisation:
    """``wanted``, after a look at every part of it, before anything is touched.

    Raises:
        FlashError: if the package is not jetvla's for arm64, the user's name will not do, or the bundle lacks a key.
        JetvlaError: if the key is no public key, or the bundle is not whole, or not signed by that key.
    """
    if not _USER.fullmatch(wanted.user):
        raise FlashError(f"USER_NAME={wanted.user} is no name of an account; use a-z, 0-9, _ and -, at most 32 of them")
    if not wanted.deb.is_file():
        raise FlashError(f"there is no package at {wanted.deb}; make it with 'make deb', or name another with DEB=")
    fields = run(["dpkg-deb", "--field", str(wanted.deb), "Package", "Architecture"]).split()
    if fields != ["Package:", PACKAGE, "Architecture:", "arm64"]:
        raise FlashError(f"{wanted.deb} is {' '.join(fields)}, and not {PACKAGE} for arm64; name another with DEB=")
    key = None if wanted.key is None else load_public_key(wanted.key)
    if wanted.bundle is not None:
        if key is None:
            raise FlashError(
                f"nothing says whom the robot trusts, so {wanted.bundle} would never run; name the .pub file of its "
                "signer with KEY="
            )
        verify(open_source(wanted.bundle), (key,))
    return wanted


def customise(root: RootFilesystem, l4t: Path, wanted: Customisation, password: Password) -> None:
    """Put ``wanted`` into a fresh copy of the original root file system, and check that it is there.

    Raises:
        FlashError: naming what failed; the root file system stays marked unfinished then.
    """
    with root.customising(wanted.digest()):
        _install_package(root, wanted.deb)
        if wanted.key is not None:
            _trust(root, wanted.key)
        if wanted.bundle is not None and wanted.key is not None:
            _install_bundle(root, wanted.bundle, load_public_key(wanted.key))
        _enable_units(root)
        _create_user(root, l4t, wanted.user, password)


def _install_package(root: RootFilesystem, deb: Path) -> None:
    inside = root.path / _DEB
    shutil.copyfile(deb, inside)
    try:
        with _nothing_starts(root.path):
            try:
                root.chroot("dpkg", "--install", f"/{_DEB}")
            except FlashError as error:
                _fetch_dependencies(root, error)
            status = root.chroot("dpkg-query", "--show", "--showformat=${db:Status-Status}", PACKAGE)
    finally:
        inside.unlink()
    if status != "installed":
        raise FlashError(f"{deb} is {status or 'not known'} in {root.path}, not installed; look at its dependencies")


def _fetch_dependencies(root: RootFilesystem, missing: FlashError) -> None:
    """From here on, this machine's network is needed."""
    try:
        with _without_unfinished_sources(root.path):
            root.chroot("apt-get", "--quiet", "update")
            root.chroot("apt-get", "--quiet", "--yes", "--no-install-recommends", "--fix-broken", "install")
    except FlashError as error:
        raise FlashError(
            f"{missing}\nand what is missing could not be fetched: {error}\nconnect this machine to a network, or put "
            f"the missing packages into {root.original}"
        ) from None


@contextmanager
def _without_unfinished_sources(root: Path) -> Iterator[None]:
    """apt reads no list with :data:`_NO_CHIP_YET`; all are as they were afterwards."""
    lists = [path for path in sorted((root / _SOURCES).glob("*.list")) if _NO_CHIP_YET in path.read_text("utf-8")]
    aside = {path: path.with_name(f".{path.name}.jetvla-aside") for path in lists}
    for path, place in aside.items():
        path.rename(place)
    try:
        yield
    finally:
        for path, place in aside.items():
            place.rename(path)


@contextmanager
def _nothing_starts(root: Path) -> Iterator[None]:
    """Services that a package starts would run on this machine: Debian's way to forbid it."""
    policy = root / _NO_START
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def _trust(root: RootFilesystem, key: Path) -> None:
    folder = root.path / _TRUSTED
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    place = folder / f"{key.stem}{PUBLIC_SUFFIX}"
    shutil.copyfile(key, place)
    place.chmod(0o644)


def _install_bundle(root: RootFilesystem, source: Path, key: TrustedKey) -> None:
    """As on the robot itself, but for the golden samples: they are computed there, at every start."""
    install(Store(root.path / _BUNDLES), source, Terms((key,), self_test=None), print)


def _enable_units(root: RootFilesystem) -> None:
    units = _installed_units(root.path)
    if not units:
        raise FlashError(f"the package put no unit jetvla*.service or .target into {root.path}; name another with DEB=")
    root.chroot("systemctl", "enable", *units)
    missing = [unit for unit in units if not _is_enabled(root.path, unit)]
    if missing:
        raise FlashError(f"{', '.join(missing)} could not be enabled in {root.path}")


def _installed_units(root: Path) -> list[str]:
    """Units of the package that can be enabled."""
    listing = root / "var/lib/dpkg/info" / f"{PACKAGE}.list"
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    found = map(_UNIT.fullmatch, lines)
    return [m[1] for m in found if m and "[Install]" in (root / m[0].lstrip("/")).read_text(encoding="utf-8")]


def _is_enabled(root: Path, unit: str) -> bool:
    links = [folder / unit for kind in ("wants", "requires") for folder in (root / _UNITS).glob(f"*.{kind}")]
    # They are absolute, as seen from within.
    return any(link.is_symlink() and (root / str(link.readlink()).lstrip("/")).is_file() for link in links)


def _create_user(root: RootFilesystem, l4t: Path, user: str, password: Password) -> None:
    """NVIDIA's tool makes the account with a password that it draws and prints; it is replaced at once."""
    try:
        root.on_host(str(l4t.resolve() / CREATE_USER), "--username", user, "--accept-license")
    except FlashError as error:
        raise FlashError(_PRINTED_PASSWORD.sub(r"\1(hidden)\2", str(error))) from None
    root.chroot("chpasswd", stdin=password.line_for(user))
    if not any(line.startswith(f"{user}:") for line in (root.path / "etc/passwd").read_text().splitlines()):
        raise FlashError(f"{CREATE_USER} made no account {user} in {root.path}")
