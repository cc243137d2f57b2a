"""NVIDIA's sample root file system: an untouched original, and a copy that is changed and marked until it is whole."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from jetvla.runtime.disk import sync
from jetvla.services.flash.errors import FlashError

ROOT = "rootfs"
FINISHED = f"{ROOT}.jetvla-finished"
_MOUNTS = Path("/proc/self/mountinfo")
# The kernel kills a program with its starter once it was asked to. Whether the starter has ended before that is seen by
# its number, also by the first process of a new namespace, for whom /proc is still the host's.
_ASKED = 'test "$PPID" = "$0" && STARTER=$$ exec "$@"'
_INSIDE = 'read -r _ _ _ parent _ </proc/self/stat && test "$parent" = "$STARTER" && exec "$@"'
_CHROOT = """
set -e
mount -t proc proc "$0/proc"; mount --bind /sys "$0/sys"; mount --bind /dev "$0/dev"
mount -t tmpfs tmpfs "$0/run"; mount -t tmpfs tmpfs "$0/tmp"
mkdir -p "$0/run/systemd/resolve"; cp -L /etc/resolv.conf "$0/run/systemd/resolve/stub-resolv.conf" || true
exec chroot "$0" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/root \
    DEBIAN_FRONTEND=noninteractive "$@"
"""
# Characters of an output, and of a command, that an error shows.
_LONGEST, _SHOWN = 2000, 160


class Runner(Protocol):
    """Starts programs."""

    def __call__(self, words: Sequence[str], stdin: str = "") -> str:
        """What the program printed; FlashError with the end of it if its exit status is not 0."""


def run_program(words: Sequence[str], stdin: str = "") -> str:
    """The :class:`Runner` of this machine."""
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise FlashError(f"{words[0]} cannot be started ({error.strerror}); is it installed?") from error
    if done.returncode != 0:
        name = shlex.join(words)[-_SHOWN:]
        raise FlashError(f"... {name}\nfailed with status {done.returncode}:\n{done.stdout[-_LONGEST:]}")
    return done.stdout


def own_namespaces() -> tuple[str, ...]:
    """Words before a program that end it with this process: whatever ends it, nothing runs on or stays mounted."""
    return (
        *("setpriv", "--pdeathsig", "KILL", "sh", "-c", _ASKED, str(os.getpid())),
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
        *("--", "sh", "-c", _INSIDE, "sh"),
    )


class RootFilesystem:
    """The root file system of one ``Linux_for_Tegra``.

    The first change moves ``rootfs`` aside as the original; each customisation begins with a fresh copy of it, so
    that nothing of an earlier one, finished or not, is left.
    """

    def __init__(self, l4t: Path, run: Runner = run_program) -> None:
        self._l4t, self._run = l4t, run
        self.path = l4t / ROOT
        self.original = original_of(l4t)
        self._unfinished = l4t / f"{ROOT}.jetvla-unfinished"
        self._finished = l4t / FINISHED

    @property
    def is_unfinished(self) -> bool:
        return self._unfinished.exists()

    def holds(self, request: str) -> bool:
        """Whether a finished customisation of exactly ``request`` is here."""
        return not self.is_unfinished and self._finished.is_file() and self._finished.read_text() == request

    @contextmanager
    def customising(self, request: str) -> Iterator[None]:
        """A fresh copy of the original to change; after an error, a kill or a power cut it stays marked unfinished."""
        self._check_mounts()
        _write(self._unfinished, "a customisation began and did not end; 'make flash' begins it anew\n")
        self._renew()
        yield
        self._run(["sync", "--file-system", str(self.path)])
        _write(self._finished, request)
        self._unfinished.unlink()
        sync(self._l4t)

    def check_holds(self, request: str) -> None:
        """FlashError unless a finished customisation of ``request`` is here, whoever else works on it."""
        if not self.holds(request):
            raise FlashError(
                f"{self.path} is half customised, or otherwise than asked, and is not flashed; run 'make flash' again"
            )

    def chroot(self, *words: str, stdin: str = "") -> str:
        """Run a program of the root file system; FlashError with the end of its output if it fails."""
        return self._run([*own_namespaces(), "sh", "-c", _CHROOT, str(self.path), *words], stdin)

    def on_host(self, *words: str) -> str:
        """Run one of NVIDIA's tools; its mounts end with it."""
        return self._run([*own_namespaces(), *words])

    def _renew(self) -> None:
        if not self.original.exists():
            self.path.rename(self.original)
            sync(self._l4t)
        if self.path.exists():
            self._run(["rm", "-rf", "--one-file-system", str(self.path)])
        self._run(["cp", "-a", "--reflink=auto", str(self.original), str(self.path)])

    def _check_mounts(self) -> None:
        """What is mounted in there belongs to this machine, and must not be removed with it."""
        below = f"{self.path.resolve()}/"
        points = [line.split()[4] for line in _MOUNTS.read_text(encoding="utf-8").splitlines()]
        mounted = [point for point in points if point.startswith(below)]
        if mounted:
            raise FlashError(f"{', '.join(mounted)} is mounted; sudo umount {' '.join(reversed(mounted))}")


def original_of(l4t: Path) -> Path:
    """Where the untouched root file system is kept, once there has been a customisation."""
    return l4t / f"{ROOT}.jetvla-original"


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    sync(partial)
    partial.replace(path)
    sync(path.parent)
