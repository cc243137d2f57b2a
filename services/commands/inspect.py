"""Print the receipt of a bundle, or write it as one HTML file that needs nothing else.

It says what the policy takes and gives, in which unit, how far every graph is from the checkpoint, which block
computes in which precision and why, what calibrated it, and who signed it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from jetvla.services.bundle_source import opened
from jetvla.services.receipt import receipt_of
from jetvla.services.receipt.terminal import print_receipt
from jetvla.services.termination import ends_cleanly


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder or .jetvla file")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--html", type=Path, metavar="FILE", help="write the receipt to this file instead")
    form.add_argument("--json", action="store_true", help="print the manifest itself")
    parser.add_argument("--trusted", type=Path, metavar="DIR", help="fail unless a .pub file of this folder signed it")


@ends_cleanly()
def run(arguments: argparse.Namespace) -> int:
    with opened(arguments.bundle, arguments.trusted) as bundle:
        if arguments.json:
            print(bundle.manifest.model_dump_json(indent=2))
        elif arguments.html is None:
            print_receipt(receipt_of(bundle), Console())
        else:
            # Only this form needs the template library.
            from jetvla.services.receipt.page import write_page

            write_page(receipt_of(bundle), arguments.html, arguments.bundle)
            print(f"receipt of {arguments.bundle}: {arguments.html}")
    return 0
