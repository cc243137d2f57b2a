"""Make and sign the repository from which a fleet of devices updates itself: any web server can hold it.

  jetvla fleet init REPO --keys KEYS                  keys, and a repository without releases
  jetvla fleet publish REPO BUNDLE --keys KEYS --trusted DIR
                                                      offer a bundle that a key of DIR signed; --percent 10 to a tenth
                                                      of the devices first, --percent 0 withdraws it (without --trusted)
  jetvla fleet list REPO                              what is offered, and until when it is signed
  jetvla fleet refresh REPO --keys KEYS               sign again before that, as from a weekly job; says when it needs
                                                      the key of the root, from 60 days before its end on
  jetvla fleet rotate-key REPO ROLE --keys KEYS       replace a key; devices follow by themselves

Copy REPO to the server after each. Every device is given REPO/metadata/1.root.json once, by a person:
jetvla bundle update URL --trust-root 1.root.json
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.services.termination import ends_cleanly

if TYPE_CHECKING:
    from jetvla.services.fleet.release import Release
    from jetvla.services.fleet.repository import FleetRepository

_ROLES = ("root", "targets", "snapshot", "timestamp")


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = actions.add_parser("init", help="make keys and repository")
    publish = actions.add_parser("publish", help="offer a bundle, or offer it to more devices")
    listing = actions.add_parser("list", help="what is offered")
    refresh = actions.add_parser("refresh", help="sign again, so that nothing expires")
    rotate = actions.add_parser("rotate-key", help="replace the key of a role")
    for action in (init, publish, listing, refresh, rotate):
        action.add_argument("repository", type=Path, metavar="REPO", help="folder of the repository")
    publish.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder or .jetvla file")
    publish.add_argument("--percent", type=_percent, default=100.0, metavar="P", help="of the devices (default: 100)")
    publish.add_argument("--trusted", type=Path, metavar="DIR", help="folder of the public keys that the devices trust")
    rotate.add_argument("role", choices=_ROLES)
    for action in (init, publish, refresh, rotate):
        action.add_argument("--keys", type=Path, required=True, metavar="DIR", help="folder of the private keys")
        action.add_argument(
            "--expires",
            type=_expiry,
            action="append",
            default=[],
            metavar="ROLE=DAYS",
            help="how long a signature holds (default: root=365 targets=90 snapshot=14 timestamp=14)",
        )


@ends_cleanly()
def run(arguments: argparse.Namespace) -> int:
    from jetvla.services.fleet.keys import KeyFolder
    from jetvla.services.fleet.repository import FleetRepository

    changes = arguments.action != "list"
    keys, days = (arguments.keys, dict(arguments.expires)) if changes else (arguments.repository, {})
    repository = FleetRepository(arguments.repository, KeyFolder(keys), days)
    if arguments.action == "init":
        repository.create()
        print(f"{repository.first_root}: bring it to every device, once")
        print(f"{keys}: secret; root-1.key is needed to rotate keys and once a year to refresh, so keep it in a safe")
    elif arguments.action == "publish":
        _publish(repository, arguments)
    elif arguments.action == "refresh":
        if warning := repository.refresh():
            print(f"warning: {warning}", file=sys.stderr)
    elif arguments.action == "rotate-key":
        repository.rotate(arguments.role)
        print(f"{keys}: the role {arguments.role} has a new key; remove the old one when the repository is uploaded")
    _tell(repository)
    return 0


def _publish(repository: FleetRepository, arguments: argparse.Namespace) -> None:
    from jetvla.runtime.archive import pack
    from jetvla.runtime.errors import ConfigError, FleetError
    from jetvla.runtime.keys import NAME_ANOTHER, load_trusted
    from jetvla.services.fleet.release import Release
    from jetvla.services.store.source import open_source, verify

    source = open_source(arguments.bundle)
    # What must be withdrawn may be the very one whose signature is wrong.
    withdrawn = verify(source, None, signed=False) if arguments.percent == 0 else None
    if withdrawn is not None and any(r.digest == withdrawn.digest for r in repository.releases()):
        verified = withdrawn
    elif arguments.trusted is None:
        raise ConfigError(
            "a bundle's signature is verified before it is published, for devices refuse what they do not trust: give "
            "the folder of the public keys that they trust, --trusted DIR"
        )
    else:
        verified = verify(source, load_trusted(arguments.trusted, NAME_ANOTHER))
    manifest = verified.manifest
    release = Release(verified.digest, manifest.version, manifest.name, arguments.percent)
    if arguments.bundle.is_file():
        repository.publish(release, arguments.bundle)
        return
    try:
        with tempfile.TemporaryDirectory(prefix="jetvla-") as folder:
            packed = Path(folder) / release.path
            pack(arguments.bundle, packed)
            repository.publish(release, packed)
    except OSError as error:
        raise FleetError(
            f"{arguments.bundle} cannot be packed: {error.strerror}; make room, or set TMPDIR to a larger folder"
        ) from error


def _tell(repository: FleetRepository) -> None:
    releases = repository.releases()
    for release in releases:
        print(_line(release))
    if not releases:
        print("no release is offered")
    expiry = ", ".join(f"{role} {repository.open(role).signed.expires:%Y-%m-%d}" for role in _ROLES)
    print(f"signed until: {expiry}")


def _line(release: Release) -> str:
    return f"{release.name} version {release.version}  {release.percent:g} % of the devices  {release.digest}"


def _percent(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 100 percent")
    return number


def _expiry(text: str) -> tuple[str, int]:
    role, _, days = text.partition("=")
    if role not in _ROLES or not days.isdecimal() or not 1 <= int(days) <= 3650:
        raise argparse.ArgumentTypeError(
            f"{text} is not ROLE=DAYS with a role of {', '.join(_ROLES)} and 1 to 3650 days"
        )
    return role, int(days)
