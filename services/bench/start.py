"""From the start of a process to its first action, ours beside the course's.

Ours is the policy process, as the service starts it: it verifies the whole bundle, opens what was compiled, passes its
golden self-test, and sends its first chunk, which this process receives at the guard's end of the link. The guard's own
start is not counted. The course's imports torch and transformers, makes the network from its pretrained encoders, loads
the trained state and acts; it verifies and tests nothing. Neither joins ROS 2 here. Python is started for each, and all
files are in the page cache.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from jetvla.engines.bench.ratio import Ratio
from jetvla.engines.bench.turns import Tally, family_s, take_turns
from jetvla.runtime.link.protocol import ChunkMessage
from jetvla.services.bench.answers import answers
from jetvla.services.bench.node import CourseNode
from jetvla.services.bench.site import Site, site

ACCEPTED = 5


@dataclass(frozen=True)
class Starts:
    """Seconds of one way's starts."""

    median_s: float
    least_s: float
    most_s: float
    accepted: int
    dropped: int

    @classmethod
    def of(cls, tally: Tally[float]) -> Starts:
        taken = tally.accepted or [np.nan]
        return cls(float(np.median(taken)), min(taken), max(taken), len(tally.accepted), tally.dropped)


@dataclass(frozen=True)
class ColdStart:
    """Both ways, and how many times sooner ours is."""

    ours: Starts
    course: Starts
    ratio: Ratio


def cold_start(bundle: Path, engines: Path, files: Path, accepted: int = ACCEPTED) -> ColdStart:
    """Start both in turns, after one start of each that fills the page cache.

    Args:
        files: of the course's node.

    Raises:
        JetvlaError: if a process ends before it acts.
    """
    with site(bundle, engines) as place:
        calls = [partial(_ours, place), partial(_course, place, files)]
        for call in calls:
            call()
        ours, course = take_turns(calls, accepted, family_s)
    return ColdStart(Starts.of(ours), Starts.of(course), Ratio.of(course.accepted, ours.accepted))


def _ours(place: Site) -> float:
    began = time.perf_counter()
    with answers(place) as policy:
        while not any(isinstance(event, ChunkMessage) for event in policy.wait()):
            pass
        return time.perf_counter() - began


def _course(place: Site, files: Path) -> float:
    began = time.perf_counter()
    with CourseNode(files, place, ros=False) as node:
        node.first_action()
        return time.perf_counter() - began
