"""One table of faults: within which time each must be found, how the robot must end up, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from jetvla.calibration.simulator.plant import COMMAND_TIMEOUT_S
from jetvla.runtime.cameras.health import FROZEN_FRAMES
from jetvla.runtime.guard.limits import Limits, RateLimit

LIMITS = Limits()
# Of the tiny bundle: seconds between two chunks. No velocity is followed for longer than two of them.
REPLAN_S = 0.1
STALE_S = 2 * REPLAN_S
CAMERA_HZ = 20.0
# The guard looks at the graph of ROS 2 twice a second.
PEERS_S = 0.5
# Bad chunks in a row, counted from the first one.
BAD_CHUNKS_S = (LIMITS.bad_chunks - 1) * REPLAN_S
EXCESS_S = LIMITS.excess_count * REPLAN_S
# From full speed; and for everything that is neither detection nor deceleration.
STOP_S = max(rate.stop_s for _, rate, _, _ in LIMITS.table() if isinstance(rate, RateLimit))
MARGIN_S = 0.25


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        fault: what is done to the processes.
        detect_s: the time limit of docs/SAFETY.md; None where the robot must go on, or is not moving.
        state: of the guard, once the robot is at rest.
        reasons: any of which may be named for leaving that the robot moves.
        audited: faults that must stand in the audit log.
    """

    fault: str
    detect_s: float | None
    state: str
    reasons: tuple[str, ...] = ()
    audited: tuple[str, ...] = ()

    @property
    def bound_s(self) -> float | None:
        """From the fault to the command that ends the motion."""
        return None if self.detect_s is None else self.detect_s + MARGIN_S + STOP_S


BLIND = ("stale_chunk", "no_camera", "stale_frame")

ROWS: dict[str, Row] = {
    "policy killed": Row("SIGKILL of the policy", 0.0, "DISARMED", ("link_lost",), ("link_lost",)),
    "policy hangs": Row(
        "SIGSTOP of the policy",
        LIMITS.link_silence_s,
        "DISARMED",
        ("link_silent", "stale_chunk", "late_chunks"),
        ("link_silent",),
    ),
    "guard killed": Row("SIGKILL of the guard", COMMAND_TIMEOUT_S, "gone"),
    "guard hangs": Row("SIGSTOP of the guard", COMMAND_TIMEOUT_S, "DISARMED", audited=("stall",)),
    "camera ends": Row("a recording is over", LIMITS.frame_age_s, "DISARMED", BLIND, ("no_camera",)),
    "camera silent": Row("a camera's topic falls silent", LIMITS.frame_age_s, "DISARMED", BLIND, ("no_camera",)),
    "camera freezes": Row(
        "a camera repeats its image", FROZEN_FRAMES / CAMERA_HZ, "DISARMED", ("frozen_frame",), ("frozen_frame",)
    ),
    "camera dark": Row("a camera goes dark", 1 / CAMERA_HZ, "DISARMED", ("dark_frame",), ("dark_frame",)),
    "time back": Row("frames with stamps going backwards", LIMITS.frame_age_s, "DISARMED", BLIND, ("no_camera",)),
    "nan": Row("actions of NaN", BAD_CHUNKS_S, "LATCHED", ("bad_chunk", "stale_chunk"), ("bad_chunk",)),
    "inf": Row("actions of infinity", BAD_CHUNKS_S, "LATCHED", ("bad_chunk", "stale_chunk"), ("bad_chunk",)),
    "width": Row("actions of a wrong width", BAD_CHUNKS_S, "LATCHED", ("bad_chunk", "stale_chunk"), ("bad_chunk",)),
    "engine nan": Row(
        "the policy's own engine gives NaN",
        STALE_S + BAD_CHUNKS_S,
        "LATCHED",
        ("bad_chunk", "stale_chunk"),
        ("bad_chunk",),
    ),
    "engine slow": Row(
        "the policy's own engine is ten times slower", 2 * STALE_S, "DISARMED", ("stale_chunk",), ("stale_chunk",)
    ),
    "jump": Row("an action that jumps", 0.0, "LATCHED", ("seam",), ("seam",)),
    "more": Row("actions beyond the limits, ever more", EXCESS_S, "LATCHED", ("excess",), ("excess",)),
    "slow": Row("a policy that is ten times slower", STALE_S, "DISARMED", ("stale_chunk",), ("stale_chunk",)),
    "silent": Row("a policy that says nothing", LIMITS.link_silence_s, "DISARMED", ("stale_chunk",), ("link_silent",)),
    "garbage": Row("a policy that sends garbage", 0.0, "DISARMED", ("link_lost",), ("link_lost",)),
    "oversize": Row("a packet above the largest size", 0.0, "DISARMED", ("link_lost",), ("link_lost",)),
    "flood": Row("a policy that sends all it can", None, "ARMED"),
    "strangers": Row("other peers: garbage, too much, nothing", None, "ARMED"),
    "mute": Row("a peer without a HELLO comes first", None, "DISARMED", ("link_lost",)),
    "wall clock ahead": Row("the wall clock set ahead by 1 h", None, "ARMED"),
    "wall clock back": Row("the wall clock set back by 1 h", None, "ARMED"),
    "second publisher": Row("a second publisher of commands", PEERS_S, "DISARMED", ("peers",), ("peers",)),
    "other type": Row("the driver takes TwistStamped instead", PEERS_S, "DISARMED", ("peers",), ("peers",)),
    "disk full": Row("the disk is full", None, "ARMED"),
    "stop on a full disk": Row("deadman released on a full disk", 0.0, "DISARMED", ("deadman",), ("deadman",)),
    "deadman released": Row("the deadman switch released", 0.0, "DISARMED", ("deadman",), ("deadman",)),
    "deadman silent": Row("the deadman switch falls silent", LIMITS.deadman_s, "DISARMED", ("deadman",), ("deadman",)),
    "estop": Row("the emergency stop", 0.0, "LATCHED", ("estop",), ("estop",)),
    "estop while stopping": Row("the emergency stop during a stop", 0.0, "LATCHED", ("deadman",), ("deadman", "estop")),
}


@dataclass(frozen=True)
class Measured:
    """What came of one row, and when it was measured; milliseconds from the fault, None where nothing is to be found
    or to end."""

    fault: str
    detected_ms: float | None
    rest_ms: float | None
    bound_ms: float | None
    state: str
    reasons: tuple[str, ...]
    utc: str


MEASURED: dict[str, Measured] = {}


def note(
    name: str, state: str, reasons: Sequence[str], detected_s: float | None = None, rest_s: float | None = None
) -> None:
    """Keep the result of a row for the table."""
    row = ROWS[name]
    times = (None if s is None else round(s * 1e3, 1) for s in (detected_s, rest_s, row.bound_s))
    utc = datetime.now(timezone.utc).isoformat(timespec="seconds")
    MEASURED[name] = Measured(row.fault, *times, state, tuple(reasons), utc)


def table() -> Iterator[str]:
    """All that was measured, in the order of :data:`ROWS`, as lines."""
    yield f"{'fault':40} {'detected ms':>11} {'at rest ms':>10} {'bound ms':>8}  {'state':8}  reason"
    for m in (MEASURED[name] for name in ROWS if name in MEASURED):
        times = f"{_ms(m.detected_ms):>11} {_ms(m.rest_ms):>10} {_ms(m.bound_ms):>8}"
        names = ", then ".join(reason.split(":")[0] for reason in m.reasons)
        yield f"{m.fault:40} {times}  {m.state:8}  {names}"
    if missing := [row.fault for name, row in ROWS.items() if name not in MEASURED]:
        yield f"not measured: {', '.join(missing)}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def write(path: Path) -> None:
    """The table as JSON; rows that were not measured now keep what was measured before, of which each has the time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else {}
    rows = {name: asdict(MEASURED[name]) if name in MEASURED else before.get(name) for name in ROWS}
    path.write_text(json.dumps(rows, indent=1) + "\n")
