"""The loop answers frames with chunks, says why when it cannot, and is never silent for long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.cameras.fake import ScriptedCamera
from jetvla.runtime.cameras.paced import PacedCamera, Picture
from jetvla.runtime.cameras.slot import CameraSlot
from jetvla.runtime.clock import NS_PER_S, FakeClock, MonotonicClock, seconds_to_ns
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.contracts import ActionChunk, Frame, Instruction, Observation
from jetvla.runtime.errors import CameraError, EngineError, LinkError
from jetvla.runtime.link.protocol import ChunkMessage, Health, Idle, IdleReason, Message, StageTimes
from jetvla.runtime.manifest import CameraSpec, GraphSpec, TensorSpec
from jetvla.runtime.policy import heartbeat
from jetvla.runtime.policy.actor import Acted, Actor
from jetvla.runtime.policy.heartbeat import LIMIT_NS, PERIOD_NS, Heartbeat
from jetvla.runtime.policy.loop import PolicyLoop, Turn
from jetvla.runtime.policy.model import open_model
from jetvla.runtime.policy.sight import Sight
from jetvla.runtime.policy.state import Numb

GO = Instruction.of("go", 0)


class Recorder:
    """A sender that keeps what it was given, and when."""

    def __init__(self, clock: FakeClock | MonotonicClock) -> None:
        self._clock = clock
        self.sent: list[tuple[int, Message]] = []

    def send(self, message: Message) -> None:
        self.sent.append((self._clock.now_ns(), message))

    def of(self, kind: type) -> list[Message]:
        return [m for _, m in self.sent if isinstance(m, kind)]


class SlowActor:
    """Takes its time on a fake clock and answers with its count, or with what it is told."""

    def __init__(self, clock: FakeClock, takes_s: float = 0.02, actions: object = None) -> None:
        self._clock, self._takes_s, self._actions = clock, takes_s, actions
        self.seen: list[Observation] = []

    def act(self, observation: Observation) -> Acted:
        self.seen.append(observation)
        self._clock.advance(self._takes_s)
        actions = np.ones((2, 3), np.float32) if self._actions is None else np.array(self._actions, np.float32)
        t0_ns = observation.frames[0].t_ns
        chunk = ActionChunk(actions, t0_ns, NS_PER_S // 10, observation.instruction.id, "ab", len(self.seen) - 1)
        return Acted(chunk, StageTimes(step=seconds_to_ns(self._takes_s)))


class Joints:
    """A state that is known as long as there is one."""

    def __init__(self, *state: float) -> None:
        self.state: tuple[float, ...] | None = state

    def feel(self) -> NDArray[np.float32]:
        if self.state is None:
            raise Numb("joint 'elbow' is 0.3 s old")
        return np.array(self.state, np.float32)


def film(clock: FakeClock, fps: float = 30.0, count: int = 1000) -> Sight:
    """A sight of one live camera."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (8, 8, 3), np.uint8)
    pictures = (Picture(seconds_to_ns(i / fps), lambda i=i: image + np.uint8(i % 256)) for i in range(count))
    camera = PacedCamera("front", clock, lambda: pictures, loop=False)
    return Sight([CameraSlot("front", lambda: camera, clock)], clock)


def scripted(clock: FakeClock, *script: Frame | CameraError | None) -> Sight:
    camera = ScriptedCamera("front", script, clock)
    return Sight([CameraSlot("front", lambda: camera, clock)], clock)


def loop(
    clock: FakeClock,
    sight: Sight,
    instruction: Callable[[], Instruction | None] = lambda: GO,
    actor: SlowActor | None = None,
    rate_hz: float | None = None,
    observers: tuple[Callable[[Turn], None], ...] = (),
    joints: Joints | None = None,
) -> tuple[PolicyLoop, Recorder]:
    recorder = Recorder(clock)
    actor = actor or SlowActor(clock)
    return PolicyLoop(sight, instruction, actor, recorder, clock, rate_hz, observers=observers, joints=joints), recorder


def test_every_new_frame_is_answered_at_its_capture_time() -> None:
    clock = FakeClock()
    policy, recorder = loop(clock, film(clock))
    start_ns = clock.now_ns()
    for _ in range(10):
        policy.turn()
    chunks = recorder.of(ChunkMessage)
    assert [c.t0_ns - start_ns for c in chunks] == [seconds_to_ns(i / 30) for i in range(10)]
    assert [c.seq for c in chunks] == list(range(10))
    assert {c.instruction_id for c in chunks} == {GO.id}
    assert policy.counts["chunks"] == 10


def test_health_follows_every_chunk_and_says_when_it_was_sent() -> None:
    clock = FakeClock()
    policy, recorder = loop(clock, film(clock))
    for _ in range(3):
        policy.turn()
    kinds = [type(m) for _, m in recorder.sent]
    assert kinds == [ChunkMessage, Health] * 3
    for (sent_ns, chunk), (_, health) in zip(recorder.sent[::2], recorder.sent[1::2], strict=True):
        assert health.sent_ns == sent_ns
        assert health.stages.step == seconds_to_ns(0.02)
        assert health.cameras[0].t_ns == chunk.t0_ns


def test_frames_missed_during_a_slow_step_are_skipped_and_not_queued() -> None:
    clock = FakeClock()
    policy, recorder = loop(clock, film(clock), actor=SlowActor(clock, takes_s=0.15))
    for _ in range(20):
        policy.turn()
    chunks = recorder.of(ChunkMessage)
    assert len(chunks) == 20
    ages = [t - 150_000_000 - m.t0_ns for t, m in recorder.sent if isinstance(m, ChunkMessage)]
    assert max(ages) <= NS_PER_S / 30 + 1


@pytest.mark.parametrize("fps", [30.0, 100.0])
def test_the_rate_is_kept_on_average_and_never_exceeded_by_a_burst(fps: float) -> None:
    clock = FakeClock()
    actor = SlowActor(clock)
    policy, recorder = loop(clock, film(clock, fps), actor=actor, rate_hz=10.0)
    for _ in range(21):
        policy.turn()
    times = [m.t0_ns for m in recorder.of(ChunkMessage)]
    assert (times[-1] - times[0]) / 20 == pytest.approx(NS_PER_S / 10, rel=0.02)
    clock.advance(1.0)
    before = clock.now_ns()
    for _ in range(5):
        policy.turn()
    assert clock.now_ns() - before >= seconds_to_ns(0.3)


def test_without_an_instruction_it_says_so_and_keeps_looking() -> None:
    clock = FakeClock()
    policy, recorder = loop(clock, film(clock), lambda: None)
    for _ in range(5):
        policy.turn()
    assert [i.reason for i in recorder.of(Idle)] == [IdleReason.NO_INSTRUCTION] * 5
    assert [h.cameras[0].seq for h in recorder.of(Health)] == list(range(5))
    assert not recorder.of(ChunkMessage)


def test_a_new_instruction_counts_from_the_next_frame() -> None:
    clock = FakeClock()
    said = iter([None, GO, GO, Instruction.of("left", 0), None])
    policy, recorder = loop(clock, film(clock), lambda: next(said))
    for _ in range(5):
        policy.turn()
    assert [c.instruction_id for c in recorder.of(ChunkMessage)] == [GO.id, GO.id, Instruction.of("left", 0).id]
    assert len(recorder.of(Idle)) == 2


def test_a_missing_camera_is_reported_and_waited_for_with_a_word_every_100_ms() -> None:
    clock = FakeClock()
    sight = Sight([CameraSlot("front", Missing(), clock)], clock)
    policy, recorder = loop(clock, sight)
    for _ in range(60):
        policy.turn()
    times = [t for t, _ in recorder.sent]
    assert max(b - a for a, b in pairwise(times)) <= 100_000_000
    idles = recorder.of(Idle)
    assert {i.reason for i in idles} == {IdleReason.NO_CAMERA}
    assert {i.text for i in idles} == {"no such device"}
    assert times[-1] - times[0] >= 5 * NS_PER_S


class Missing:
    def __call__(self) -> ScriptedCamera:
        raise CameraError("no such device")


def test_a_frame_that_is_a_little_late_does_not_stop_the_robot() -> None:
    clock = FakeClock()
    policy, recorder = loop(clock, film(clock, fps=6.0))
    for _ in range(30):
        policy.turn()
    assert len(recorder.of(ChunkMessage)) > 10
    assert not recorder.of(Idle)
    assert max(b - a for a, b in pairwise(t for t, _ in recorder.sent)) <= 100_000_000


def test_a_late_frame_after_a_long_step_does_not_stop_the_robot_either() -> None:
    clock = FakeClock()
    frame = Frame("front", np.full((8, 8, 3), 99, np.uint8), 0, clock.now_ns())
    policy, recorder = loop(clock, scripted(clock, frame, None, None), actor=SlowActor(clock, takes_s=0.9))
    policy.turn()
    policy.turn()
    assert [type(m) for _, m in recorder.sent] == [ChunkMessage, Health, Health]
    policy.turn()
    assert recorder.of(Idle)


def test_a_late_frame_without_an_instruction_is_not_blamed_on_the_camera() -> None:
    clock = FakeClock()
    policy, recorder = loop(clock, film(clock, fps=6.0), lambda: None)
    for _ in range(30):
        policy.turn()
    assert {i.reason for i in recorder.of(Idle)} == {IdleReason.NO_INSTRUCTION}


def test_a_camera_that_stops_is_told_after_200_ms() -> None:
    clock = FakeClock()
    policy, recorder = loop(clock, film(clock, count=3))
    last_ns = 0
    while not recorder.of(Idle):
        policy.turn()
        last_ns = clock.now_ns() if recorder.of(ChunkMessage)[2:] and not last_ns else last_ns
    assert recorder.of(Idle)[0].reason is IdleReason.NO_CAMERA
    assert 180_000_000 <= clock.now_ns() - last_ns <= 300_000_000


def test_without_camera_and_instruction_it_is_the_camera_that_is_told() -> None:
    clock = FakeClock()
    sight = Sight([CameraSlot("front", Missing(), clock)], clock)
    policy, recorder = loop(clock, sight, lambda: None)
    policy.turn()
    assert recorder.of(Idle)[0].text == "no such device"


def test_old_frames_give_idle_and_are_counted() -> None:
    clock = FakeClock()
    old = Frame("front", np.full((8, 8, 3), 99, np.uint8), 0, clock.now_ns() - seconds_to_ns(0.25))
    sight = scripted(clock, old)
    policy, recorder = loop(clock, sight)
    policy.turn()
    assert "its newest frame is 250 ms old" in recorder.of(Idle)[0].text
    assert sight.counts["stale"] == 1
    assert policy.counts["chunks"] == 0


def test_nan_is_sent_for_the_guard_to_judge_and_is_counted() -> None:
    clock = FakeClock()
    policy, recorder = loop(clock, film(clock), actor=SlowActor(clock, actions=[[0.0, np.nan, 1.0]]))
    policy.turn()
    assert np.isnan(recorder.of(ChunkMessage)[0].actions[0, 1])
    assert policy.counts["not finite"] == 1


def test_observers_see_every_turn() -> None:
    clock = FakeClock()
    turns: list[Turn] = []
    said = iter([GO, None])
    policy, _ = loop(clock, film(clock), lambda: next(said), observers=(turns.append,))
    policy.turn()
    policy.turn()
    acted, idle = turns
    assert acted.chunk is not None
    assert acted.idle is None
    assert acted.sent_ns - acted.started_ns == seconds_to_ns(0.02)
    assert idle.chunk is None
    assert idle.idle is not None


@pytest.mark.parametrize("error", [EngineError("step failed"), LinkError("guard gone")])
def test_a_failed_step_or_link_ends_the_loop(error: Exception) -> None:
    clock = FakeClock()
    policy, recorder = loop(clock, film(clock))

    def fail(*_: object) -> None:
        raise error

    if isinstance(error, EngineError):
        policy._actor.act = fail
    else:
        recorder.send = fail
    with pytest.raises(type(error)):
        policy.run(lambda: False)


def test_it_runs_until_it_is_stopped() -> None:
    clock = FakeClock()
    policy, recorder = loop(clock, film(clock))
    policy.run(lambda: policy.counts["chunks"] >= 4)
    assert len(recorder.of(ChunkMessage)) == 4


def test_there_is_a_health_to_repeat_before_the_first_step_is_done() -> None:
    clock = FakeClock()
    recorder = Recorder(clock)
    beat = Heartbeat(recorder, clock)

    class VerySlow(SlowActor):
        def act(self, observation: Observation) -> Acted:
            clock.advance(0.2)
            beat.repeat()
            return super().act(observation)

    policy = PolicyLoop(film(clock), lambda: GO, VerySlow(clock), beat, clock)
    policy.run(lambda: policy.counts["chunks"] >= 1)
    kinds = [type(m) for _, m in recorder.sent]
    assert kinds == [Health, Health, ChunkMessage, Health]


def test_the_real_actor_resizes_and_answers(
    make_bundle: Callable[[], Bundle], answer: Callable[[str, float], np.ndarray]
) -> None:
    bundle = make_bundle()
    clock = MonotonicClock()
    actor = Actor(open_model(bundle, PolicyConfig(), clock))
    t_ns = clock.now_ns()
    for seq, level in enumerate((10, 250)):
        frame = Frame("front", np.full((48, 64, 3), level, np.uint8), seq, t_ns)
        chunk, stages = actor.act(Observation((frame,), None, Instruction.of("go  left", 0)))
        assert np.allclose(chunk.actions, answer("go left", level), atol=1e-6)
        assert (chunk.t0_ns, chunk.dt_ns, chunk.seq, chunk.bundle) == (t_ns, 100_000_000, seq, bundle.digest)
        assert (stages.language > 0) == (seq == 0)
        assert min(stages.capture, stages.preprocess, stages.step) > 0


def test_a_heartbeat_repeats_health_only_into_silence() -> None:
    clock = FakeClock()
    recorder = Recorder(clock)
    beat = Heartbeat(recorder, clock)
    beat.repeat()
    clock.advance(1.0)
    beat.repeat()
    assert not recorder.sent
    health = Health(7, StageTimes(), ())
    beat.send(health)
    beat.send(Idle(IdleReason.NO_CAMERA))
    clock.advance(0.099)
    beat.repeat()
    assert len(recorder.sent) == 2
    clock.advance(0.001)
    beat.repeat()
    beat.repeat()
    assert [m for _, m in recorder.sent[2:]] == [health]


def test_a_policy_that_hangs_goes_silent() -> None:
    clock = FakeClock()
    recorder = Recorder(clock)
    beat = Heartbeat(recorder, clock)
    clock.advance(60.0)
    beat.send(Health(0, StageTimes(), ()))
    start_ns = clock.now_ns()
    for _ in range(100):
        clock.advance(0.05)
        beat.repeat()
    last_ns = recorder.sent[-1][0]
    assert LIMIT_NS - PERIOD_NS <= last_ns - start_ns <= LIMIT_NS


def test_the_heartbeat_thread_beats_and_ends_with_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "LIMIT_NS", 10**12)
    beaten = threading.Event()
    sent: list[Message] = []

    class Guard:
        def send(self, message: Message) -> None:
            sent.append(message)
            if len(sent) == 3:
                beaten.set()
                raise LinkError("gone")

    with Heartbeat(Guard(), MonotonicClock()) as beat:
        beat.send(Health(0, StageTimes(), ()))
        assert beaten.wait(60)
        beat._thread.join(60)
        assert not beat._thread.is_alive()
    assert len(sent) == 3


def test_the_capture_time_of_two_cameras_is_the_older_one(make_bundle: Callable[..., Bundle]) -> None:
    size = {"height": 8, "width": 8}
    pictures = {f"image_{n}": TensorSpec(dtype="uint8", shape=(1, 8, 8, 3)) for n in ("left", "right")}
    actions = {"actions": TensorSpec(dtype="float32", shape=(1, 2, 3))}
    bundle = make_bundle(
        text=None,
        cameras=(CameraSpec(name="left", **size), CameraSpec(name="right", **size)),
        graphs={"step.fp32": GraphSpec(file="step.onnx", inputs=pictures, outputs=actions)},
    )
    clock = FakeClock()
    model = open_model(bundle, PolicyConfig(backend="null"), clock)
    inputs: dict[str, np.ndarray] = {}
    model._step._run = lambda given: (inputs.update(given), {"actions": np.zeros((1, 2, 3), np.float32)})[1]
    left, right = (Frame(n, np.full((9, 9, 3), t, np.uint8), 0, t) for n, t in (("left", 90), ("right", 50)))
    acted = Actor(model).act(Observation((left, right), None, GO))
    assert acted.chunk.t0_ns == 50
    assert acted.stages.capture == clock.now_ns() - 50
    assert inputs["image_left"].tolist() == np.full((1, 8, 8, 3), 90).tolist()
    assert inputs["image_right"].tolist() == np.full((1, 8, 8, 3), 50).tolist()


def test_the_state_reaches_the_policy_and_a_policy_without_gets_none() -> None:
    clock = FakeClock()
    actor, joints = SlowActor(clock), Joints(0.5, -0.25)
    policy, _ = loop(clock, film(clock), actor=actor, joints=joints)
    policy.turn()
    joints.state = (1.0, 2.0)
    policy.turn()
    states = [observation.state for observation in actor.seen]
    assert [None if s is None else s.tolist() for s in states] == [[0.5, -0.25], [1.0, 2.0]]
    other = SlowActor(clock)
    loop(clock, film(clock), actor=other)[0].turn()
    assert other.seen[0].state is None


def test_a_state_that_is_not_known_is_said_and_never_made_up() -> None:
    clock = FakeClock()
    actor, joints = SlowActor(clock), Joints(0.5)
    policy, recorder = loop(clock, film(clock), actor=actor, joints=joints)
    joints.state = None
    for _ in range(3):
        policy.turn()
    assert actor.seen == []
    assert recorder.of(Idle) == [Idle(IdleReason.NO_STATE, "joint 'elbow' is 0.3 s old")] * 3
    assert len(recorder.of(Health)) == 3
    assert policy.counts["numb"] == 3
    joints.state = (0.5,)
    policy.turn()
    assert len(recorder.of(ChunkMessage)) == 1


def test_a_missing_state_is_told_before_a_missing_instruction() -> None:
    clock = FakeClock()
    joints = Joints()
    joints.state = None
    policy, recorder = loop(clock, film(clock), lambda: None, joints=joints)
    policy.turn()
    assert [idle.reason for idle in recorder.of(Idle) if isinstance(idle, Idle)] == [IdleReason.NO_STATE]
