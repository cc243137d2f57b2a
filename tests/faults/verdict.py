"""The verdict on one row: was the fault found, the robot stopped in time and legally, and all of it audited?"""

from __future__ import annotations

import time

import numpy as np

from .judge import Commands, assert_legal
from .rig import FULL_SPEED, QUIET_NS, Rig, within
from .rows import ROWS, note
from .settings import PATIENT_S


def stopped(rig: Rig, name: str, fault_ns: int) -> None:
    """The fault of row ``name`` ended the motion in time, legally, for a named reason, and is in the audit log."""
    row = ROWS[name]
    within(10, lambda: rig.settled(row.state), f"{row.state} and nothing published")
    commands = rig.commands()
    assert commands.speed_at(fault_ns) > FULL_SPEED, "the robot was not at full speed when the fault came"
    assert_legal(commands)
    within(5, lambda: {e.get("fault") for e in rig.audited(fault_ns)} >= set(row.audited), f"audit: {row.audited}")
    entries = rig.audited(fault_ns)
    found = [e for e in entries if e["kind"] == "fault" and e["fault"] in (*row.reasons, *row.audited)]
    left = [e["reason"] for e in entries if e["kind"] == "state" and e["state"] in ("STOPPING", "LATCHED")]
    assert found, f"none of {row.reasons} was found"
    assert left, "it was stopping before the fault"
    assert left[0].split(":")[0] in row.reasons, left
    if row.state == "LATCHED":
        assert left[-1].split(":")[0] in row.audited, left
    assert rig.audit_is_whole()
    rest_s = (max(commands.rest_ns(), _heard_rest_ns(rig, commands)) - fault_ns) / 1e9
    note(name, rig.state, left, (found[0]["t_ns"] - fault_ns) / 1e9, rest_s)
    assert row.bound_s is not None
    assert rest_s <= row.bound_s


def went_on(rig: Rig, name: str, since_ns: int) -> None:
    """Whatever row ``name`` is, the robot has moved since, and does."""
    row = ROWS[name]
    assert rig.state == row.state == "ARMED"
    commands = rig.commands()
    assert_legal(commands)
    after = commands.t_ns >= since_ns
    assert commands.speeds[after].min() > FULL_SPEED
    assert np.diff(commands.t_ns[after]).max() < PATIENT_S * 1e9, "a stall"
    within(2, lambda: time.monotonic_ns() - rig.sent[-1].t_ns < QUIET_NS, "commands still arrive")
    assert not [e for e in rig.audited(since_ns) if e["kind"] == "state"]
    assert rig.audit_is_whole()
    note(name, row.state, ["goes on"])


def _heard_rest_ns(rig: Rig, commands: Commands) -> int:
    """When the driver got the first of the zeros at the end; 0 if it was not there to get them."""
    heard = list(rig.sent)
    if not heard or heard[-1].t_ns < commands.t_ns[-1] - QUIET_NS:
        return 0
    moving = [index for index, sent in enumerate(heard) if sent.speed or sent.turn]
    assert moving[-1] + 1 < len(heard), "the driver got no zero"
    return heard[moving[-1] + 1].t_ns
