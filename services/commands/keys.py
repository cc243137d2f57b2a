"""Make and list the Ed25519 keys that sign bundles.

  jetvla keys new NAME --dir ~/.config/jetvla    NAME.key stays secret; NAME.pub goes to the robots
  jetvla keys list DIR                           names and ids of the public keys in DIR

Nothing is trusted by itself: a person copies the .pub file into the robot's directory of trusted keys.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jetvla.runtime.keys import create_key_pair, load_public_key, load_trusted


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="new|list")
    new = actions.add_parser("new", help="make a key pair")
    new.add_argument("name", help="the files are called NAME.key and NAME.pub")
    new.add_argument("--dir", type=Path, default=Path(), help="where to write them (default: here)")
    listing = actions.add_parser("list", help="list the public keys of a directory")
    listing.add_argument("dir", type=Path)


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "new":
        private, public = create_key_pair(arguments.name, arguments.dir)
        print(f"{private}  secret: sign with it, and keep it off the robot")
        print(f"{public}  id {load_public_key(public).id}: copy it into the robot's trusted.d")
        return 0
    for key in load_trusted(arguments.dir):
        print(f"{key.id}  {key.name}")
    return 0
