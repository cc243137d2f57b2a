"""Which action is asked for, and what counts against the policy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from jetvla.runtime.clock import NS_PER_S
from jetvla.runtime.contracts import ActionChunk, Instruction
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.faults import Finding
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import twist_spec
from jetvla.runtime.guard.source import Request, RequestSource
from jetvla.runtime.manifest import Execution

MS = 1_000_000
T0 = 1000 * MS
GO = Instruction.of("go", T0)


def source(horizon: int = 1) -> RequestSource:
    s = RequestSource(twist_spec(), ChunkTiming(horizon, 0.1, 0.1), Limits())
    s.instruction(GO)
    return s


def chunk(x: float = 0.1, t_ms: int = 1000, seq: int = 0, instruction: Instruction = GO) -> ActionChunk:
    actions = np.array([[x, 0, 0, 0, 0, 0]], np.float32)
    return ActionChunk(actions, t_ms * MS, 100 * MS, instruction.id, "b", seq)


def asked(s: RequestSource, t_ms: int) -> tuple[float | None, str]:
    request, _ = s.request(t_ms * MS)
    return (None if request.values is None else round(float(request.values[0]), 6)), request.reason


def names(found: list[Finding]) -> list[str]:
    return [f.fault for f in found]


def test_the_newest_chunk_is_asked_for() -> None:
    s = source()
    assert asked(s, 1010) == (None, "waiting")
    assert s.take(chunk(0.1, 1000), 1050 * MS) == []
    assert asked(s, 1060) == (0.1, "policy")
    assert s.take(chunk(0.2, 1100, 1), 1150 * MS) == []
    assert asked(s, 1160) == (0.2, "policy")


def test_serial_names_chunk_and_row_whatever_the_policy_calls_them() -> None:
    s = source(horizon=2)
    rows = np.zeros((2, 6), np.float32)
    s.take(ActionChunk(rows, T0, 100 * MS, GO.id, "b", 7), T0)
    serials = [s.request(T0 + t * MS)[0].serial for t in (0, 99, 100)]
    s.take(ActionChunk(rows, T0, 100 * MS, GO.id, "b", 7), T0 + 100 * MS)
    serials += [s.request(T0 + t * MS)[0].serial for t in (100, 200)]
    assert serials == [(1, 0), (1, 0), (1, 1), (2, 1), (2, 1)]


def test_an_old_action_is_dropped_once() -> None:
    s = source()
    s.take(chunk(), 1050 * MS)
    assert asked(s, 1200) == (0.1, "policy")
    request, found = s.request(1200 * MS + 1)
    assert (request.values, request.reason) == (None, "stale")
    assert names(found) == ["stale_chunk"]
    assert "0.200 s old; the limit is 0.200 s" in found[0].reason
    assert asked(s, 1202) == (None, "waiting")


def test_without_an_instruction_nothing_is_asked_for() -> None:
    s = source()
    s.instruction(None)
    s.take(chunk(), 1050 * MS)
    assert asked(s, 1060) == (None, "idle")


def test_chunks_of_another_instruction_are_ignored() -> None:
    s = source()
    assert s.take(chunk(instruction=Instruction.of("stay", T0)), 1050 * MS) == []
    assert asked(s, 1060) == (None, "waiting")


def test_another_instruction_discards_the_chunk_and_the_same_one_keeps_it() -> None:
    s = source()
    s.take(chunk(), 1050 * MS)
    s.instruction(Instruction.of("go ", 1060 * MS))
    assert asked(s, 1070) == (0.1, "policy")
    s.instruction(Instruction.of("stay", 1080 * MS))
    assert asked(s, 1090) == (None, "waiting")
    s.instruction(None)
    assert asked(s, 1090) == (None, "idle")
    s.instruction(GO)
    assert asked(s, 1090) == (None, "waiting")


def test_time_to_live() -> None:
    s = source()
    end = T0 + 60 * NS_PER_S
    s.take(chunk(t_ms=60_990), 61_000 * MS)
    assert s.request(end)[0].reason == "policy"
    request, found = s.request(end + 1)
    assert (request.values, request.reason) == (None, "expired")
    assert names(found) == ["instruction_expired"]
    assert s.request(end + 2)[1] == []
    assert s.take(chunk(t_ms=61_050), 61_060 * MS) == []
    assert asked(s, 61_070) == (None, "expired")
    s.instruction(Instruction.of("go", end + 100 * MS))
    s.take(chunk(t_ms=61_100), 61_110 * MS)
    assert asked(s, 61_120) == (0.1, "policy")


def test_clear_forgets_the_chunk() -> None:
    s = source()
    s.take(chunk(), 1050 * MS)
    s.clear()
    assert asked(s, 1060) == (None, "waiting")


def test_a_bad_chunk_is_rejected_and_the_last_good_one_stays() -> None:
    s = source()
    s.take(chunk(), 1050 * MS)
    found = s.take(chunk(np.nan, 1100, 5), 1150 * MS)
    assert names(found) == [""]
    assert found[0].reason == "chunk 5 rejected: not finite: x"
    assert str(found[0].raw) == "(nan, 0.0, 0.0, 0.0, 0.0, 0.0)"
    assert asked(s, 1160) == (0.1, "policy")


def test_three_bad_chunks_in_a_row_are_a_fault() -> None:
    s = source()
    for k, x in enumerate([np.nan, np.nan, 0.1, np.inf, np.nan]):
        assert "bad_chunk" not in names(s.take(chunk(x, 1000 + k), 1010 * MS))
    assert names(s.take(chunk(np.nan, 1005), 1010 * MS)) == ["", "bad_chunk"]
    found = s.take(chunk(np.nan, 1006), 1010 * MS)
    assert names(found) == ["", "bad_chunk"]
    assert found[0].raw is found[1].raw


@pytest.mark.parametrize(("t_ms", "now_ms", "ok"), [(1000, 995, True), (1000, 994, False)])
def test_chunks_from_the_future_are_bad(t_ms: int, now_ms: int, ok: bool) -> None:
    found = source().take(chunk(t_ms=t_ms), now_ms * MS)
    assert names(found) == ([] if ok else [""])
    assert ok or "0.006 s in the future" in found[0].reason


def test_chunks_that_go_back_in_time_are_bad() -> None:
    s = source()
    s.take(chunk(t_ms=1000), 1050 * MS)
    assert s.take(chunk(t_ms=1000), 1050 * MS) == []
    found = s.take(chunk(t_ms=990), 1050 * MS)
    assert "answers a frame 0.010 s older" in found[0].reason


def test_three_late_chunks_in_a_row_are_a_fault() -> None:
    s = source()
    ages_ms = [101, 101, 100, 101, 150]
    for k, age_ms in enumerate(ages_ms):
        assert s.take(chunk(t_ms=1000 + k), (1000 + k + age_ms) * MS) == []
    assert names(s.take(chunk(t_ms=1010), 1200 * MS)) == ["late_chunks"]


def test_a_chunk_that_is_too_old_already_is_not_used() -> None:
    s = source()
    s.take(chunk(t_ms=1000), 1200 * MS)
    assert asked(s, 1200) == (0.1, "policy")
    s = source()
    s.take(chunk(t_ms=1000), 1201 * MS)
    assert asked(s, 1201) == (None, "waiting")


def request(serial: int) -> Request:
    return Request(np.zeros(6), "policy", (serial, 0))


def test_a_held_request_counts_once() -> None:
    s = source()
    assert s.count(request(1), True) == (True, [])
    for _ in range(100):
        assert s.count(request(1), True) == (False, [])
    assert s.count(request(2), True) == (True, [])


def test_ten_excessive_requests_of_fifty_are_a_fault() -> None:
    s = source()
    for k in range(45):
        excessive = k % 5 == 0
        assert names(s.count(request(k), excessive)[1]) == []
    new, found = s.count(request(45), True)
    assert new
    assert names(found) == ["excess"]
    assert found[0].reason == "10 of the last 46 requests were beyond velocity or range"


def test_nine_of_fifty_are_not() -> None:
    s = source()
    for k in range(400):
        assert s.count(request(k), k % 6 == 0)[1] == []


def test_forget_forgives_everything() -> None:
    s = source()
    s.take(chunk(), 1050 * MS)
    for k in range(9):
        s.count(request(k), True)
    s.take(chunk(np.nan), 1050 * MS)
    s.take(chunk(np.nan), 1050 * MS)
    s.forget()
    assert asked(s, 1060) == (None, "waiting")
    assert names(s.take(chunk(np.nan), 1050 * MS)) == [""]
    assert s.count(request(8), True) == (True, [])
    assert s.take(chunk(t_ms=900), 1000 * MS) == []


def test_forget_forgives_lateness() -> None:
    s = source()
    for k in range(2):
        s.take(chunk(t_ms=1000 + k), 1150 * MS)
    s.forget()
    assert s.take(chunk(t_ms=1002), 1150 * MS) == []


def test_a_request_counts_as_excessive_as_soon_as_it_is() -> None:
    s = source()
    assert s.count(request(1), False) == (True, [])
    assert s.count(request(1), True) == (True, [])
    assert s.count(request(1), True) == (False, [])
    assert s.count(request(1), False) == (False, [])
    for k in range(2, 10):
        assert s.count(request(k), True) == (True, [])
    assert s.count(request(10), False) == (True, [])
    found = s.count(request(10), True)[1]
    assert found[0].reason == "10 of the last 10 requests were beyond velocity or range"


# Seams


@pytest.mark.parametrize(("following", "fault"), [(True, "seam"), (False, "")])
def test_a_chunk_that_does_not_continue_the_one_in_use_is_a_fault_while_it_is_followed(
    following: bool, fault: str
) -> None:
    s = source()
    s.take(chunk(0.1, 1000), 1050 * MS)
    found = s.take(chunk(0.21, 1090, 4), 1100 * MS, following=following)
    assert names(found) == [fault]
    assert found[0].reason == "chunk 4 does not continue the one in use: x, y, z would jump by 0.11 m/s; at most 0.1"
    assert found[0].raw == pytest.approx((0.21, 0, 0, 0, 0, 0))
    assert asked(s, 1101) == (0.21, "policy")


def test_a_robot_that_does_not_follow_is_told_of_the_first_seam_alone() -> None:
    s = source()
    told = [names(s.take(chunk(0.2 * (k % 2), 1000 + k), 1010 * MS, following=False)) for k in range(6)]
    assert told == [[], [""], [], [], [], []]
    s.forget()
    told = [names(s.take(chunk(0.2 * (k % 2), 1010 + k), 1020 * MS, following=False)) for k in range(3)]
    assert told == [[], [""], []]
    assert [names(s.take(chunk(0.2 * (k % 2), 1015 + k), 1020 * MS)) for k in (1, 2)] == [["seam"], ["seam"]]


def test_a_chunk_within_the_limit_of_a_seam_is_none() -> None:
    s = source()
    s.take(chunk(0.1, 1000), 1050 * MS)
    assert s.take(chunk(0.199, 1090), 1100 * MS) == []


FREE: dict[str, Callable[[RequestSource], object]] = {
    "the first chunk": lambda s: s.forget(),
    "idle": lambda s: s.clear(),
    "another instruction": lambda s: (s.instruction(Instruction.of("stay", T0)), s.instruction(GO)),
    "no instruction": lambda s: (s.instruction(None), s.instruction(GO)),
    "a stale chunk": lambda s: s.request(1201 * MS),
    "a chunk that is stale before any tick says so": lambda s: None,
}


@pytest.mark.parametrize("why", FREE)
@pytest.mark.parametrize("execution", ["latest", "temporal_ensemble", "blend"])
def test_nothing_is_continued_after(why: str, execution: Execution) -> None:
    s = RequestSource(twist_spec(), ChunkTiming(1, 0.1, 0.1, execution), Limits())
    s.instruction(GO)
    s.take(chunk(-0.2, 1000), 1050 * MS)
    FREE[why](s)
    assert s.take(chunk(0.2, 1190), 1201 * MS) == []
    assert asked(s, 1201) == (0.2, "policy")


def test_an_expired_instruction_leaves_nothing_to_continue() -> None:
    s = source()
    end = T0 + 60 * NS_PER_S
    s.take(chunk(-0.2, t_ms=60_990), 61_000 * MS)
    s.request(end + 1)
    s.instruction(Instruction.of("go", end + 10 * MS))
    assert s.take(chunk(0.2, t_ms=61_020), 61_030 * MS) == []


def test_the_old_plan_is_what_is_asked_for_and_not_the_newest_chunk() -> None:
    """In the middle of a fade the request has come half of the way."""
    s = RequestSource(twist_spec(), ChunkTiming(4, 0.1, 0.1, "blend"), Limits())
    s.instruction(GO)
    s.take(chunk(0.0, 1000), 1000 * MS)
    s.take(chunk(0.09, 1010), 1010 * MS)
    assert asked(s, 1060) == (0.045, "policy")
    found = s.take(chunk(0.15, 1060), 1060 * MS)
    assert "would jump by 0.105 m/s" in found[0].reason


@pytest.mark.parametrize("execution", ["temporal_ensemble", "blend"])
def test_chunks_on_the_two_sides_of_a_seam_are_not_merged(execution: Execution) -> None:
    s = RequestSource(twist_spec(), ChunkTiming(4, 0.1, 0.1, execution), Limits())
    s.instruction(GO)
    s.take(chunk(-0.2, 1000), 1000 * MS)
    s.take(chunk(0.2, 1010), 1010 * MS, following=False)
    assert asked(s, 1010) == (0.2, "policy")
