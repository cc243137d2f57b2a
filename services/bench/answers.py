"""The policy daemon at work, with this process at the guard's end of its link."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.link.protocol import Message
from jetvla.runtime.link.server import GuardLink, LinkLost
from jetvla.services.bench.site import Site
from jetvla.services.supervisor import POLICY, Daemons

_WAIT_S = 0.1


class Answers:
    """What the policy says; ``pid`` is its process."""

    def __init__(self, place: Site, link: GuardLink, daemons: Daemons) -> None:
        self._place, self._link, self._daemons = place, link, daemons
        self.pid = daemons.processes[POLICY].pid

    def wait(self) -> list[Message | LinkLost]:
        """The next messages, as soon as there are any; JetvlaError if the policy has ended."""
        while not (events := self._link.poll()):
            if self._daemons.dead():
                raise JetvlaError(f"the policy ended: {self._place.log.read_text(errors='replace')[-2000:]}")
            select.select([self._link], [], [], _WAIT_S)
        return events


@contextmanager
def answers(place: Site) -> Iterator[Answers]:
    """Start the policy, and end it."""
    link = GuardLink(load_config(place.config).socket, {os.getuid()})
    try:
        with place.log.open("ab") as log, Daemons(place.config, (POLICY,), log) as daemons:
            yield Answers(place, link, daemons)
    finally:
        link.close()
