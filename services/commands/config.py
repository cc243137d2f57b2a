"""Check a configuration file, naming every mistake with its line; or print the JSON schema.

jetvla config check jetvla.yaml
jetvla config schema > jetvla.schema.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from jetvla.runtime.config import Config, load_config


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="check|schema")
    check = actions.add_parser("check", help="check a file")
    check.add_argument("file", type=Path)
    actions.add_parser("schema", help="print the JSON schema")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "schema":
        print(json.dumps(Config.model_json_schema(), indent=2))
        return 0
    load_config(arguments.file)
    print(f"{arguments.file}: right")
    return 0
