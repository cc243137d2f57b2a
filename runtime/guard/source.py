"""Which action the policy asks for now: that of the good chunks that obey the instruction in force."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.clock import NS_PER_S, seconds_to_ns
from jetvla.runtime.contracts import ActionChunk, Instruction
from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.chunk import ChunkTiming, Plan, Planner
from jetvla.runtime.guard.execution import open_execution
from jetvla.runtime.guard.faults import Finding
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.seam import Seam


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What is asked for: float64 [D], or None for rest. ``reason`` is one word.

    ``serial`` names the newest chunk, by how many came before it, and its row: a row that is in use for many ticks
    is one request, whatever number the policy gives its chunks. ``frame_ns`` is when the frame was captured that the
    newest chunk answers, 0 without one.
    """

    values: Vector | None
    reason: str
    serial: tuple[int, int] = (-1, -1)
    frame_ns: int = 0


class RequestSource:
    """Takes chunks and instructions, gives requests."""

    def __init__(self, spec: ActionSpec, timing: ChunkTiming, limits: Limits) -> None:
        self._planner = Planner(spec, timing, limits)
        self._execution = open_execution(spec, timing, limits, self._planner)
        self._seam = Seam(spec, timing, limits)
        self._limits = limits
        self._ttl_ns = seconds_to_ns(limits.instruction_ttl_s)
        self._future_ns = seconds_to_ns(limits.future_s)
        self._instruction: Instruction | None = None
        self._expired = self._told = False
        self._bad = self._late = self._used = 0
        self._newest_ns = 0
        self._excess: deque[bool] = deque(maxlen=limits.excess_window)
        self._counted = (-1, -1)

    def instruction(self, instruction: Instruction | None) -> None:
        """A repeated sentence renews its time to live; another one discards the chunks in use."""
        old = self._instruction
        if old is None or instruction is None or old.id != instruction.id:
            self._execution.clear()
        self._instruction, self._expired = instruction, False

    def clear(self) -> None:
        """Forget the chunks in use: the next request is rest."""
        self._execution.clear()

    def forget(self) -> None:
        """Forget all that was counted against the policy, and the chunks in use."""
        self._execution.clear()
        self._told = False
        self._bad = self._late = self._newest_ns = 0
        self._excess.clear()
        self._counted = (-1, -1)

    def take(self, chunk: ActionChunk, now_ns: int, following: bool = True) -> list[Finding]:
        """Use ``chunk`` from now on, unless something is wrong with it.

        Args:
            following: the robot follows the requests. One that does not makes plans start anew where it is, so
                that a seam is no fault, and only the first one is told.
        """
        if problem := self._planner.problem(chunk) or self._time_problem(chunk, now_ns):
            return self._rejected(chunk, problem)
        self._bad = 0
        self._newest_ns = chunk.t0_ns
        if self._instruction is None or chunk.instruction_id != self._instruction.id or self._expired:
            return []
        found = self._lateness(chunk, now_ns)
        plan = self._planner.plan(chunk)
        if not self._planner.stale(plan, now_ns):
            found += self._join(plan, now_ns, following)
            self._execution.add(plan, now_ns)
            self._used += 1
        return found

    def _join(self, plan: Plan, now_ns: int, following: bool) -> list[Finding]:
        """Judge the seam. A plan that does not continue the one in use is not merged with it."""
        old = self._execution.newest
        if old is None or self._planner.stale(old, now_ns):
            self._execution.clear()
            return []
        asked, wanted = self._execution.values(now_ns), self._planner.action(plan, now_ns)
        jump = self._seam.problem(asked, wanted, old.held_s(now_ns))
        if not jump:
            return []
        self._execution.clear()
        told, self._told = self._told, True
        if told and not following:
            return []
        reason = f"chunk {plan.seq} does not continue the one in use: {jump}"
        return [Finding("seam" if following else "", reason, raw=tuple(wanted.tolist()))]

    def _time_problem(self, chunk: ActionChunk, now_ns: int) -> str:
        if chunk.t0_ns > now_ns + self._future_ns:
            return f"stamped {(chunk.t0_ns - now_ns) / NS_PER_S:.3f} s in the future"
        if chunk.t0_ns < self._newest_ns:
            return f"answers a frame {(self._newest_ns - chunk.t0_ns) / NS_PER_S:.3f} s older than the last"
        return ""

    def _rejected(self, chunk: ActionChunk, problem: str) -> list[Finding]:
        self._bad += 1
        raw = self._planner.telling_row(chunk)
        found = [Finding("", f"chunk {chunk.seq} rejected: {problem}", raw=raw)]
        if self._bad >= self._limits.bad_chunks:
            found.append(Finding("bad_chunk", f"{self._bad} bad chunks in a row; the last: {problem}", raw=raw))
        return found

    def _lateness(self, chunk: ActionChunk, now_ns: int) -> list[Finding]:
        age_ns = now_ns - chunk.t0_ns
        self._late = self._late + 1 if age_ns > self._planner.late_ns else 0
        if self._late < self._limits.late_chunks:
            return []
        return [
            Finding(
                "late_chunks",
                f"{self._late} late chunks in a row; the last was {age_ns / NS_PER_S:.3f} s old",
            )
        ]

    def request(self, now_ns: int) -> tuple[Request, list[Finding]]:
        """What is asked for at ``now_ns``, and what came to an end by itself."""
        if self._instruction is None:
            return Request(None, "idle"), []
        if (age_ns := now_ns - self._instruction.t_ns) > self._ttl_ns:
            return Request(None, "expired"), self._expire(age_ns)
        newest = self._execution.newest
        if newest is None:
            return Request(None, "waiting"), []
        if self._planner.stale(newest, now_ns):
            self._execution.clear()
            limit = self._planner.age_limit_ns / NS_PER_S
            reason = f"action is {(now_ns - newest.t0_ns) / NS_PER_S:.3f} s old; the limit is {limit:.3f} s"
            return Request(None, "stale"), [Finding("stale_chunk", reason)]
        serial = (self._used, newest.row(now_ns))
        return Request(self._execution.values(now_ns), "policy", serial, newest.t0_ns), []

    def _expire(self, age_ns: int) -> list[Finding]:
        self._execution.clear()
        if self._expired:
            return []
        self._expired = True
        ttl_s = self._limits.instruction_ttl_s
        reason = f"instruction is {age_ns / NS_PER_S:.1f} s old; its time to live is {ttl_s:g} s"
        return [Finding("instruction_expired", reason)]

    def count(self, request: Request, excessive: bool) -> tuple[bool, list[Finding]]:
        """Whether ``request`` is new, or excessive for the first time, and the violation budget after it."""
        again = request.serial == self._counted
        if again and (self._excess[-1] or not excessive):
            return False, []
        if again:
            self._excess.pop()
        self._counted = request.serial
        self._excess.append(excessive)
        count = sum(self._excess)
        if not excessive or count < self._limits.excess_count:
            return True, []
        reason = f"{count} of the last {len(self._excess)} requests were beyond velocity or range"
        return True, [Finding("excess", reason)]
