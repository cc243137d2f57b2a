"""The policy daemon at work, with this process at the guard's end of its link."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.link.protocol import Message
from jetvla.runtime.link.server import GuardLink, LinkLost
from jetvla.services.bench.site import Site
from jetvla.services.supervisor import POLICY, Daemons

_WAIT_S = 0.1
# All that one policy is watched for.
PATIENCE_S = 300.0


class Answers:
    """What the policy says; ``pid`` is its process."""

    def __init__(self, place: Site, link: GuardLink, daemons: Daemons) -> None:
        self._place, self._link, self._daemons = place, link, daemons
        self.pid = daemons.processes[POLICY].pid
        self._give_up_s = time.monotonic() + PATIENCE_S

    def wait(self) -> list[Message | LinkLost]:
        """The next messages, as soon as there are any; JetvlaError if the policy has ended, or after too long."""
        while True:
            late = time.monotonic() > self._give_up_s
            if self._daemons.dead() or late:
                said = self._place.log.read_text(errors="replace")[-2000:]
                raise JetvlaError(f"the policy {f'took {PATIENCE_S:g} s' if late else 'ended'}: {said}")
            if events := self._link.poll():
                return events
            select.select([self._link], [], [], _WAIT_S)


@contextmanager
def answers(place: Site) -> Iterator[Answers]:
    """Start the policy, and end it."""
    link = GuardLink(load_config(place.config).socket, {os.getuid()})
    try:
        with place.log.open("ab") as log, Daemons(place.config, (POLICY,), log) as daemons:
            yield Answers(place, link, daemons)
    finally:
        link.close()
