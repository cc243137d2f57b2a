"""Say what is ready on this machine and what is not, each with its remedy.

Exit status 0 when everything that the configuration needs is ready, else 1.

--archive packs what a supporter needs into one file: the findings, the configuration, versions, the journal of the
services, the end of the audit log, the store's history and trial, the last status. Keys are left out, and so is every
sentence that was said to the robot. No figures of 'jetvla profile' are kept by themselves: --profile FILE adds them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jetvla.services.operator import add_config_option


def configure(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--archive", type=Path, metavar="FILE.tar.gz", help="pack them for a supporter")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="figures of 'jetvla profile --json', to pack too")


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from jetvla.services.doctor.archive import write_archive
    from jetvla.services.doctor.examination import all_ready, examine
    from jetvla.services.doctor.page import as_json, print_page
    from jetvla.services.doctor.system import System

    system = System()
    findings = examine(arguments.config, system)
    if arguments.json:
        print(as_json(findings))
    else:
        print_page(findings, Console(width=None if Console().is_terminal else 160))
    if arguments.archive is not None:
        names = write_archive(arguments.archive, arguments.config, findings, system, arguments.profile)
        if not arguments.json:
            print(f"{arguments.archive}: {', '.join(names)}")
    return 0 if all_ready(findings) else 1
