"""NVIDIA's ``l4t_initrd_flash.sh``: its command for a board, and running it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from jetvla.services.flash.boards import Board
from jetvla.services.flash.errors import FlashError
from jetvla.services.flash.release import Release
from jetvla.services.flash.symptoms import explain

# Since R38 it also stands at the top, and is named so in NVIDIA's examples.
_PLACES = ("l4t_initrd_flash.sh", "tools/kernel_flash/l4t_initrd_flash.sh")
LOG = "jetvla-flash.log"


def tool_of(l4t: Path) -> str | None:
    """Where the tool lies in ``l4t``."""
    return next((place for place in _PLACES if (l4t / place).is_file()), None)


def command(board: Board, release: Release, l4t: Path) -> tuple[str, ...]:
    """What flashes ``board`` when it is run in ``l4t``. Quick Start of r36.4, r38.4 and r39.2."""
    options = (*board.r36, "--network", "usb0") if release.branch == 36 else ()
    return (f"./{tool_of(l4t)}", *options, "--showlogs", board.name, "internal")


def shown(words: tuple[str, ...], l4t: Path) -> str:
    """``words`` for a shell."""
    return f"cd {shlex.quote(str(l4t))} && sudo {shlex.join(words)}"


def flash(words: tuple[str, ...], l4t: Path, say: Callable[[str], None]) -> None:
    """Run ``words``; its output goes to ``say`` line by line, and into ``jetvla-flash.log`` in ``l4t``.

    Raises:
        FlashError: if it fails, with what is known of the messages that it gave.
    """
    lines: list[str] = []
    log = l4t / LOG
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            words, cwd=l4t, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        assert process.stdout is not None  # it is a pipe
        for line in process.stdout:
            file.write(line)
            lines.append(line.rstrip())
            say(line.rstrip())
    if process.returncode != 0:
        advice = "".join(f"\n  - {remedy}" for remedy in explain(lines))
        raise FlashError(f"the flash failed with status {process.returncode}; all of its output is in {log}{advice}")
