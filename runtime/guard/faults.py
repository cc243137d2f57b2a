"""What can go wrong, and what the guard does about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Reaction(Enum):
    """``HOLD``: to rest, still armed. ``STOP``: to rest, then disarmed. ``LATCH``: to rest until a reset."""

    HOLD = "hold"
    STOP = "stop"
    LATCH = "latch"


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table.

    Attributes:
        name: as it stands in events and in the audit log.
        reaction: what happens while armed. A latch happens in any state.
        meaning: for people.
    """

    name: str
    reaction: Reaction
    meaning: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong; ``fault`` is empty where it is not yet one. ``raw`` is what the policy asked for, ``sent`` what
    the robot gets instead; empty where nothing was."""

    fault: str
    reason: str
    sent: tuple[float, ...] = ()
    raw: tuple[float, ...] = ()


FAULTS: dict[str, Fault] = {
    f.name: f
    for f in (
        Fault("estop", Reaction.LATCH, "the emergency stop is pressed"),
        Fault(
            "bad_chunk",
            Reaction.LATCH,
            "chunks in a row that are not finite, of the wrong shape, or wrongly timed",
        ),
        Fault("violation", Reaction.LATCH, "the checker refused a shaped command: an error in the shaper"),
        Fault("excess", Reaction.LATCH, "the policy keeps asking for more than its velocity, range or workspace"),
        Fault("seam", Reaction.LATCH, "a new chunk does not continue the one in use"),
        Fault("travel", Reaction.LATCH, "too long a way within a window of time"),
        Fault("following", Reaction.LATCH, "the robot is not where it is told to be"),
        Fault("broken_clock", Reaction.LATCH, "time does not pass between ticks"),
        Fault("stall", Reaction.STOP, "a tick came too late, or time went back"),
        Fault("link_lost", Reaction.STOP, "the policy's socket is closed"),
        Fault("link_silent", Reaction.STOP, "nothing came from the policy for too long"),
        Fault("wrong_bundle", Reaction.STOP, "the policy runs another bundle than the guard"),
        Fault("golden", Reaction.STOP, "the engine does not reproduce the golden samples"),
        Fault("no_health", Reaction.STOP, "no health report for too long"),
        Fault("no_camera", Reaction.STOP, "the policy waits for a camera"),
        Fault("no_state", Reaction.STOP, "the policy waits for joint states"),
        Fault("stale_frame", Reaction.STOP, "the newest frame is too old"),
        Fault("frozen_frame", Reaction.STOP, "a camera repeats the same image"),
        Fault("dark_frame", Reaction.STOP, "a camera sees nothing"),
        Fault("frame_size", Reaction.STOP, "a camera changed its image size"),
        Fault("camera_skew", Reaction.STOP, "the frames of one observation are of different moments"),
        Fault("deadman", Reaction.STOP, "the operator's dead man's switch is not held"),
        Fault("no_feedback", Reaction.STOP, "the robot's positions are configured and not reported"),
        Fault("no_pose", Reaction.STOP, "the workspace is configured and the tool's pose is not reported"),
        Fault("stale_chunk", Reaction.STOP, "the action in use is too old"),
        Fault("late_chunks", Reaction.STOP, "chunks in a row that came too late to last until the next"),
        Fault("peers", Reaction.STOP, "nobody, or somebody else, on the command topic"),
        Fault("instruction_expired", Reaction.HOLD, "the instruction outlived its time to live"),
    )
}
