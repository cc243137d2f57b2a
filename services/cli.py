"""The ``jetvla`` command. Each subcommand is a module of ``services/commands`` with ``configure`` and ``run``."""

from __future__ import annotations

import argparse
import errno
import importlib
import importlib.metadata
import os
import select
import signal
import sys
from collections.abc import Sequence

from jetvla.runtime.errors import JetvlaError

COMMANDS: dict[str, str] = {
    "train": "train a policy on recorded episodes",
    "calibrate": "inspect recordings, and measure with them",
    "build": "turn a checkpoint into a signed bundle",
    "compile": "build a bundle's engines for this machine, and keep the fastest that computes right",
    "bundle": "install, update, try and roll back the bundles of this device",
    "fleet": "make the repository from which a fleet of devices updates itself",
    "keys": "make and list the keys that sign bundles",
    "inspect": "print what a bundle holds",
    "verify": "check a bundle's files and signature",
    "run": "run policy and guard in the foreground",
    "arm": "let the robot move",
    "disarm": "bring the robot to a controlled stop",
    "reset": "clear a latched fault",
    "say": "give the robot an instruction",
    "status": "print what the running daemons report",
    "top": "watch the running robot: rates, ages, stage times, faults, memory, heat and power",
    "audit": "check and print the log of everything that the guard clipped, refused and stopped for",
    "record": "record what the guard is told and what it answers, for Foxglove and for replay",
    "replay": "run the guard over a recording again, and compare every command",
    "simulate": "run the simulated table robot, or record demonstrations with it",
    "trace": "write what the running daemons do when, for ui.perfetto.dev",
    "profile": "measure where every millisecond goes",
    "compare": "say what became slower between two profiles",
    "doctor": "say what is ready on this machine and what is not",
    "config": "check a configuration file, or print its JSON schema",
    "demo": "build the small policy, run it on the simulated robot, and print what happened",
}


def parser() -> argparse.ArgumentParser:
    """The whole command line. Command modules import nothing heavy at their top."""
    root = argparse.ArgumentParser(prog="jetvla", description="From a VLA checkpoint to a safely moving robot.")
    root.add_argument("--version", action="version", version=f"jetvla {importlib.metadata.version('jetvla')}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        module = importlib.import_module(f"jetvla.services.commands.{name}")
        sub = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(sub)
        sub.set_defaults(run=module.run)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0 on success, 1 on a user's error, 2 on wrong usage, 130 on Ctrl-C, 141 where the reader of
    the output has gone (``jetvla audit show | head``)."""
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_gone(sys.stdout.fileno()):
            raise
        _write_no_more()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"jetvla: {error.strerror}: standard output, or a file that was being written", file=sys.stderr)
        _write_no_more()
        return 1


def _run(argv: Sequence[str] | None) -> int:
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except JetvlaError as error:
        print(f"jetvla {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"jetvla {arguments.command}: interrupted", file=sys.stderr)
        return 130


def _write_no_more() -> None:
    """What is still in the buffer is flushed once more at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reader_gone(descriptor: int) -> bool:
    """Whether it is this pipe that broke, and not one to another program."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))
