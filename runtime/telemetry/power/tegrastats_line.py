"""A line of NVIDIA's ``tegrastats``, of JetPack 4 to 7.

Its fields come and go with board and release: on Thor the GPU has clocks and often no load, on JetPack 7.2 a rail has
its present, mean and highest value and a temperature its highest too. Only present values are taken.
"""

from __future__ import annotations

import re

from jetvla.runtime.telemetry.power.rail import Rail
from jetvla.runtime.telemetry.power.reading import Activity, Memory, Reading
from jetvla.runtime.telemetry.power.thermal import ASLEEP_C, Temperature

_STAMP = re.compile(r"^\d\d-\d\d-\d{4} \d\d:\d\d:\d\d ", re.ASCII)
_RAM = re.compile(r"\bRAM (\d{1,9})/(\d{1,9})MB(?: \(lfb \d+x\d+MB\))?", re.ASCII)
_CPU = re.compile(r"\b(?:CPU|cpu) \[([^\[\]]*)\](?:@(\d{1,6}))?", re.ASCII)
_CORE = re.compile(r"(\d{1,3})%(?:@(\d{1,6}))?", re.ASCII)
_EMC = re.compile(r"\bEMC(?:_FREQ)? (?=[\d@])(?:(\d{1,3})%)?(?:@(\d{1,6}))?(?!\S)", re.ASCII)
_GPU = re.compile(r"\bGR3D(?:_FREQ)? (?=[\d@])(?:(\d{1,3})%)?(?:@\[?(\d{1,6}(?:,\d{1,6})*)\]?)?(?!\S)", re.ASCII)
_ZONE = re.compile(r"(?<!\S)([\w-]+)@(-?\d{1,4}(?:\.\d{1,6})?)C(?:/-?[\d.]+C)?(?!\S)", re.ASCII)
# JetPack 4 gives no unit, as in "VDD_IN 5297/5297"; so does a SWAP that was cut off, hence the names.
_OLD = "(?:VDD|VIN|POM|SYS|GPU|CPU|SOC|CV)"
_RAIL = re.compile(rf"(?<!\S)(?=\w+ -?\d+mW|{_OLD})(\w+) (-?\d{{1,9}})(?:mW(?:/-?\d+mW)*|/-?\d+)(?!\S)", re.ASCII)
_NOT_CONNECTED = "NC"


def parse_line(line: str, t_ns: int) -> Reading | None:
    """The reading of a line that came at ``t_ns``; None if it is no line of tegrastats, all of which tell the RAM.

    What is not understood is in ``unparsed``; nothing raises.
    """
    ram, rest = _take(_RAM, _STAMP.sub("", line.strip(), count=1))
    if not ram:
        return None
    cpu, rest = _take(_CPU, rest)
    emc, rest = _take(_EMC, rest)
    gpu, rest = _take(_GPU, rest)
    zones, rest = _take(_ZONE, rest)
    rails, rest = _take(_RAIL, rest)
    return Reading(
        t_ns,
        "tegrastats",
        rails=tuple(Rail(name, float(mw)) for name, mw in rails if name != _NOT_CONNECTED),
        temperatures=tuple(Temperature(zone, float(c)) for zone, c in zones if float(c) > ASLEEP_C),
        cores=_cores(*cpu[0]) if cpu else (),
        gpu=_activity(*gpu[0]) if gpu else None,
        emc=_activity(*emc[0]) if emc else None,
        ram=Memory(int(ram[0][0]), int(ram[0][1])),
        note="" if rails else "tegrastats tells no power rail on this board",
        unparsed=" ".join(rest.split()),
    )


def _take(pattern: re.Pattern[str], text: str) -> tuple[list[tuple[str, ...]], str]:
    """The groups of every match, and the text without them."""
    return [found.groups(default="") for found in pattern.finditer(text)], pattern.sub(" ", text)


def _cores(listed: str, common_mhz: str) -> tuple[Activity, ...]:
    found = [_CORE.fullmatch(core.strip()) for core in listed.split(",")]
    return tuple(_activity(core[1], core[2] or common_mhz) if core else Activity() for core in found)


def _activity(load: str, mhz: str) -> Activity:
    return Activity(float(load) if load else None, tuple(float(value) for value in mhz.split(",") if value))
