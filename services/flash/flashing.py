"""A flash from beginning to end: look, customise, print the command, and run it only where that was confirmed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jetvla.services.flash.boards import board_named
from jetvla.services.flash.customise import Customisation, checked, customise
from jetvla.services.flash.errors import FlashError
from jetvla.services.flash.host import Host
from jetvla.services.flash.initrd import command, flash, shown
from jetvla.services.flash.password import read_password
from jetvla.services.flash.preflight import check
from jetvla.services.flash.root import FINISHED, RootFilesystem, Runner, run_program

_LICENSE = "rootfs/usr/share/doc/nvidia-tegra/Tegra_Software_License_Agreement-Tegra-Linux.txt"


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asks for.

    Attributes:
        board: NVIDIA's name of the board configuration.
        l4t: the folder ``Linux_for_Tegra``.
        deb, bundle, key, user: see :class:`~jetvla.services.flash.customise.Customisation`.
        password_file: None asks at the terminal.
        accepts_license: NVIDIA's, which its tool for making the account asks for.
        flashes: whether the last command is run.
    """

    board: str
    l4t: Path
    deb: Path
    bundle: Path | None
    key: Path | None
    user: str
    password_file: Path | None
    accepts_license: bool
    flashes: bool


def carry_out(order: Order, host: Host, say: Callable[[str], None], run: Runner = run_program) -> None:
    """Do ``order``. Whatever stops it, nothing is flashed that is not whole.

    Raises:
        JetvlaError: naming every reason, each with its remedy.
    """
    board, l4t = board_named(order.board), order.l4t.resolve()
    found = check(host, board, l4t)
    for warning in found.warnings:
        say(f"warning: {warning}")
    if not order.accepts_license:
        raise FlashError(f"NVIDIA's licence is not accepted; read {l4t / _LICENSE}, then add ACCEPT_LICENSE=yes")
    wanted = checked(Customisation(order.deb, order.bundle, order.key, order.user), run)
    root = RootFilesystem(l4t, run)
    if root.holds(wanted.digest()):
        say(f"{root.path} is customised so already, with the password of then; {FINISHED} removed begins anew")
    else:
        password = read_password(order.user, order.password_file)
        say(f"customising {root.path}; this takes minutes")
        customise(root, l4t, wanted, password)
        say(f"{root.path} is customised")
    words = command(board, found.release, l4t)
    say(shown(words, l4t))
    if not order.flashes:
        say("nothing was flashed; CONFIRM=yes without DRY_RUN flashes, and everything on the Jetson is lost")
        return
    check(host, board, l4t)
    root.check_holds(wanted.digest())
    flash(words, l4t, say)
    say("flashed; the Jetson restarts by itself, and its first start takes some minutes")
