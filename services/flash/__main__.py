"""``python -m jetvla.services.flash``, which is what ``make flash`` runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jetvla.runtime.errors import JetvlaError
from jetvla.services.flash.boards import BOARDS
from jetvla.services.flash.flashing import Order, carry_out
from jetvla.services.flash.host import LinuxHost
from jetvla.services.termination import ends_cleanly


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make flash", description="Customise NVIDIA's root file system for a Jetson, and flash it."
    )
    parser.add_argument("--board", required=True, help=", ".join(BOARDS))
    parser.add_argument("--l4t", type=Path, required=True, metavar="DIR", help="unpacked Linux_for_Tegra")
    parser.add_argument("--deb", type=Path, required=True, help="jetvla's package for arm64")
    parser.add_argument("--bundle", type=Path, help="signed bundle, a folder or a .jetvla file")
    parser.add_argument("--key", type=Path, metavar="PUB", help="public key that the robot is to trust")
    parser.add_argument("--user", default="robot", help="account to make on the robot (default: %(default)s)")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="its first line; asked for without it")
    parser.add_argument("--accept-license", action="store_true", help="you have read and accept NVIDIA's licence")
    parser.add_argument("--dry-run", action="store_true", help="do all but flash")
    parser.add_argument("--confirm", action="store_true", help="flash; everything on the Jetson is lost")
    return parser


@ends_cleanly()
def main(argv: Sequence[str] | None = None) -> int:
    a = _parser().parse_args(argv)
    order = Order(
        board=a.board,
        l4t=a.l4t,
        deb=a.deb,
        bundle=a.bundle,
        key=a.key,
        user=a.user,
        password_file=a.password_file,
        accepts_license=a.accept_license,
        flashes=a.confirm and not a.dry_run,
    )
    try:
        carry_out(order, LinuxHost(), lambda line: print(line, flush=True))
    except JetvlaError as error:
        print(f"flash: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("flash: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
