"""Check that a bundle is whole, unaltered, and signed by a key that you trust.

Exit status 0 means that every file matches the manifest and the manifest's signature holds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jetvla.services.bundle_source import opened


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder or .jetvla file")
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument(
        "--trusted",
        type=Path,
        default=Path("/etc/jetvla/trusted.d"),
        help="folder of trusted .pub files (default: %(default)s)",
    )
    trust.add_argument("--any-signer", action="store_true", help="check the files only, whoever signed them")


def run(arguments: argparse.Namespace) -> int:
    with opened(arguments.bundle, None if arguments.any_signer else arguments.trusted) as bundle:
        signer = f"signed by {bundle.signer.name} ({bundle.signer.id})" if bundle.signer else "signature not checked"
        count = len(bundle.manifest.files)
        print(f"{arguments.bundle}: {count} files match, {signer}")
        print(f"digest {bundle.digest}")
    return 0
