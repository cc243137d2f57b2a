"""Check a configuration file, naming every mistake with its line, and against its bundle; or print the JSON schema.

jetvla config check jetvla.yaml
jetvla config schema > jetvla.schema.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import BundleError, ConfigError
from jetvla.services.bundle_fit import refusals, unsent


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="check|schema")
    check = actions.add_parser("check", help="check a file")
    check.add_argument("file", type=Path)
    actions.add_parser("schema", help="print the JSON schema")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "schema":
        print(json.dumps(Config.model_json_schema(), indent=2))
        return 0
    config = load_config(arguments.file)
    warnings = config.guard.limits.doubts()
    try:
        bundle = Bundle.open(config.bundle, None, contents=False)
    except (BundleError, OSError) as error:
        print(f"{arguments.file}: right")
        print(f"cameras, outputs, feedback, limits and state were not held against a bundle: {error}")
    else:
        warnings += _fit(arguments.file, config, bundle)
    for warning in warnings:
        print(f"WARNING: {warning}")
    return 0


def _fit(file: Path, config: Config, bundle: Bundle) -> list[str]:
    """Warnings; ConfigError where policy or guard would refuse ``bundle``."""
    if refused := refusals(config, bundle):
        raise ConfigError("\n".join([f"{file} and the bundle {config.bundle} do not go together:", *refused]))
    print(f"{file}: right, also for the bundle {config.bundle} (signature and contents were not checked)")
    note = unsent(config, bundle.manifest.action)
    return [note] if note else []
