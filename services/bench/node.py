"""The course's node, started as a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

from jetvla.engines.bench.loop import SENTENCE
from jetvla.runtime.errors import JetvlaError
from jetvla.services.bench.site import Site


class CourseNode:
    """Runs until it is closed; see :mod:`jetvla.services.bench.course`.

    Args:
        files: what :func:`jetvla.services.bench.course_files.write_course_files` wrote.
        ros: be a node of ROS 2 too.
    """

    def __init__(self, files: Path, site: Site, ros: bool) -> None:
        module = ["-m", "jetvla.services.bench.course", str(files), str(site.picture), SENTENCE]
        self._site = site
        self._log = site.log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, *module, *(["--ros"] if ros else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def first_action(self) -> None:
        """Wait for it; JetvlaError if the node ends instead."""
        if not _open(self._process.stdout).readline():
            raise JetvlaError(f"the course's node failed: {self._site.log.read_text(errors='replace')[-2000:]}")

    def act_again(self) -> None:
        """Have it act once more, and wait for the action."""
        stream = _open(self._process.stdin)
        stream.write(b"\n")
        stream.flush()
        self.first_action()

    def __enter__(self) -> CourseNode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # it was asked to be a pipe
    return stream
