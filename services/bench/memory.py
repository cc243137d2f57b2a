"""Resident memory at work: both of our processes together, beside the course's node.

Counted is the proportional set size of ``/proc/PID/smaps_rollup``: a page that processes share is split between them,
so that two processes may be added up. Both have joined ROS 2 and have acted at least :data:`ACTIONS` times.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.status import read_status
from jetvla.services.bench.node import CourseNode
from jetvla.services.bench.site import Site, site
from jetvla.services.resident import Resident
from jetvla.services.supervisor import GUARD, POLICY, Daemons

TURNS = 3
ACTIONS = 20
_PATIENCE_S = 120.0
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class Memory:
    """Medians over :data:`TURNS` starts of each."""

    guard: Resident
    policy: Resident
    course: Resident
    turns: int

    @property
    def ratio(self) -> float:
        """How many times less ours take together."""
        return self.course.pss / (self.guard.pss + self.policy.pss)


def memory(bundle: Path, engines: Path, files: Path, turns: int = TURNS) -> Memory:
    """Start both in turns and count.

    Args:
        files: of the course's node.

    Raises:
        JetvlaError: if a process ends, or sends no chunks in time.
    """
    guards, policies, courses = [], [], []
    with site(bundle, engines) as place:
        for _ in range(turns):
            guard, policy = _ours(place)
            guards.append(guard)
            policies.append(policy)
            courses.append(_course(place, files))
    return Memory(_median(guards), _median(policies), _median(courses), turns)


def _ours(place: Site) -> tuple[Resident, Resident]:
    status, give_up = load_config(place.config).status, time.monotonic() + _PATIENCE_S
    status.unlink(missing_ok=True)
    with place.log.open("ab") as log, Daemons(place.config, log=log) as daemons:
        while not status.exists() or read_status(status).chunks < ACTIONS:
            if (dead := daemons.dead()) is not None or time.monotonic() > give_up:
                said = place.log.read_text(errors="replace")[-2000:]
                raise JetvlaError(f"{dead or 'nobody'} ended, and there are no {ACTIONS} chunks: {said}")
            time.sleep(_LOOK_EVERY_S)
        return Resident.of(daemons.processes[GUARD].pid), Resident.of(daemons.processes[POLICY].pid)


def _course(place: Site, files: Path) -> Resident:
    with CourseNode(files, place, ros=True) as node:
        node.first_action()
        for _ in range(ACTIONS - 1):
            node.act_again()
        return Resident.of(node.pid)


def _median(taken: list[Resident]) -> Resident:
    pss, rss, anonymous = np.median([(r.pss, r.rss, r.anonymous) for r in taken], axis=0)
    return Resident(float(pss), float(rss), float(anonymous))
