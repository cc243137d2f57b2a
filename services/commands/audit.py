"""Check and read the audit log, in which the guard writes everything that it clipped, refused and stopped for.

  jetvla audit verify [FOLDER|FILE]    exit status 1 if a line was removed, changed, reordered or inserted
  jetvla audit show [FOLDER|FILE]      print it: --since 10m --kind fault --kind state

Without a folder the one that the configuration names is taken (telemetry.audit).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

from jetvla.runtime.audit.chain import RecordKind, parse
from jetvla.runtime.audit.verify import log_files, unreadable, verify
from jetvla.runtime.config import load_config
from jetvla.runtime.errors import ConfigError, JetvlaError
from jetvla.services.operator import add_config_option

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="verify|show")
    check = actions.add_parser("verify", help="find what was removed, changed, reordered or inserted")
    show = actions.add_parser("show", help="print what happened")
    for action in (check, show):
        action.add_argument("path", type=Path, nargs="?", help="folder or file (default: as configured)")
        add_config_option(action)
    show.add_argument("--since", metavar="WHEN", help="90s, 10m, 2h or 1d ago, or a time such as 2026-01-31T12:00")
    show.add_argument("--kind", action="append", help="such as fault, clip, state; may be given more than once")
    show.add_argument("--json", action="store_true", help="print the lines as they are")


def run(arguments: argparse.Namespace) -> int:
    path = arguments.path or _configured(arguments.config)
    return _verify(path) if arguments.action == "verify" else _show(path, arguments)


def _configured(config: Path) -> Path:
    folder = load_config(config).telemetry.audit
    if folder is None:
        raise ConfigError(f"{config} keeps no audit log; set telemetry.audit, or name a folder")
    return folder


def _verify(path: Path) -> int:
    report = verify(path)
    for note in report.notes:
        print(f"note: {note}")
    for finding in report.findings:
        print(finding)
    verdict = f"NOT whole: {len(report.findings)} findings" if report.findings else "whole"
    newest = f", the newest {report.last.digest}" if report.last else ""
    print(f"{path}: {report.lines} lines in {report.files} files{newest}: {verdict}")
    return 1 if report.findings else 0


def _show(path: Path, arguments: argparse.Namespace) -> int:
    since = _moment(arguments.since) if arguments.since else ""
    _require_kinds(arguments.kind or [])
    for entry in _entries(path):
        if str(entry.get("wall", "")) < since or (arguments.kind and entry.get("kind") not in arguments.kind):
            continue
        print(json.dumps(entry) if arguments.json else _sentence(entry))
    return 0


def _require_kinds(asked: list[str]) -> None:
    from jetvla.runtime.guard.events import EventKind

    kinds = (*get_args(EventKind), *get_args(RecordKind))
    if unknown := [kind for kind in asked if kind not in kinds]:
        raise ConfigError(f"--kind {unknown[0]!r}: there is no such kind; the kinds are {', '.join(kinds)}")


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """Every line that is one; ``verify`` is for the others.

    Raises:
        JetvlaError: it cannot be read, or no line is one.
    """
    found = False
    try:
        for file in log_files(path):
            with file.open("rb") as lines:
                for line in lines:
                    if (link := parse(line.rstrip(b"\n"))) is not None:
                        found = True
                        yield link.entry
    except OSError as error:
        raise unreadable(path, error) from error
    if not found:
        raise JetvlaError(f"{path} holds no line of an audit log; see 'jetvla audit verify {path}'")


def _moment(text: str) -> str:
    """In the form in which lines carry their time, which sorts as time does."""
    if match := re.fullmatch(r"(\d+)([smhd])", text):
        moment = datetime.now(timezone.utc) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    else:
        try:
            moment = datetime.fromisoformat(text).astimezone(timezone.utc)
        except ValueError:
            raise ConfigError(f"--since {text!r} is neither like 10m nor like 2026-01-31T12:00") from None
    return moment.isoformat(timespec="microseconds")


_USUAL = ("seq", "prev", "wall", "t_ns", "kind", "state", "fault", "reason", "raw", "sent", "bundle", "config")


def _sentence(entry: dict[str, Any]) -> str:
    label = " ".join(str(entry[name]) for name in ("state", "kind", "fault") if entry.get(name))
    parts = [str(entry.get("reason", ""))]
    parts += [f"{name} {_numbers(entry[name])}" for name in ("raw", "sent") if entry.get(name)]
    parts += [f"{name} {value}" for name, value in entry.items() if name not in _USUAL]
    return f"{entry.get('wall')}  {label}: {', '.join(filter(None, parts))}".rstrip(": ")


def _numbers(values: list[float | str]) -> str:
    return f"[{' '.join(v if isinstance(v, str) else f'{v:.4g}' for v in values)}]"
