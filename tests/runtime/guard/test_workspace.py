"""The tool stays in its box."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.box import Box
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import GuardRig, twist_spec
from jetvla.runtime.guard.workspace import Workspace

MS = 1_000_000
NOW = 10_000 * MS
P = 0.01
BOX = Box("base_link", (-0.3, -0.3, 0.0), (0.3, 0.3, 0.6))
LIMITS = Limits(workspace=BOX)


def linear(name: str, semantics: str = "velocity", frame: str = "base_link") -> ActionDimension:
    unit = "m/s" if semantics == "velocity" else "m"
    return ActionDimension.model_validate(
        {"name": name, "quantity": "linear", "unit": unit, "semantics": semantics, "frame": frame}
    )


def box(pose: tuple[float, float, float] | None = (0.0, 0.0, 0.3), spec: ActionSpec | None = None) -> Workspace:
    workspace = Workspace(BOX, spec or twist_spec(), LIMITS, P)
    if pose is not None:
        workspace.take(np.array(pose), NOW, NOW)
    return workspace


def clip(workspace: Workspace, *request: float) -> tuple[list[float], tuple[str, ...], bool]:
    target = np.array([*request, 0.1, 0.2, 0.3])
    kept, names, excessive = workspace.clip(target, NOW)
    assert kept[3:].tolist() == [0.1, 0.2, 0.3]
    return kept[:3].tolist(), names, excessive


# Requests


def test_far_from_the_faces_everything_is_free() -> None:
    assert clip(box(), 0.14, -0.14, 0.14) == ([0.14, -0.14, 0.14], (), False)


@pytest.mark.parametrize("pose", [(0.25, 0.0, 0.3), (0.29, 0.0, 0.3), (0.5, 0.0, 0.3)])
def test_within_the_margin_and_beyond_it_only_inward_motion_is_left(pose: tuple[float, float, float]) -> None:
    assert clip(box(pose), 0.2, 0.1, -0.1) == ([0.0, 0.1, -0.1], ("x",), True)
    assert clip(box(pose), -0.2, 0.1, -0.1) == ([-0.2, 0.1, -0.1], (), False)


def test_every_face_has_its_axis() -> None:
    assert clip(box((-0.26, 0.26, 0.56)), -0.1, 0.1, 0.1) == ([0.0, 0.0, 0.0], ("x", "y", "z"), True)
    assert clip(box((0.26, -0.26, 0.04)), 0.1, -0.1, -0.1) == ([0.0, 0.0, 0.0], ("x", "y", "z"), True)


def test_outward_noise_at_the_margin_is_cut_and_not_counted() -> None:
    assert clip(box((0.26, 0.0, 0.3)), 0.012, 0.0, 0.0) == ([0.0, 0.0, 0.0], ("x",), False)
    assert clip(box((0.26, 0.0, 0.3)), 0.013, 0.0, 0.0)[2]
    assert clip(box((-0.26, 0.0, 0.3)), -0.013, 0.0, 0.0)[2]


def test_towards_the_margin_the_outward_speed_falls_to_zero_and_that_is_not_counted() -> None:
    speeds = [clip(box((x, 0.0, 0.3)), 0.25, 0.0, 0.0)[0][0] for x in np.linspace(0.0, 0.25, 26)]
    assert speeds[0] == 0.25
    assert (np.diff(speeds) <= 0).all()
    assert speeds[-1] == 0.0
    # From any of these speeds half the acceleration limit stops in time, the shaper's delay of 0.17 s included.
    for x, v in zip(np.linspace(0.0, 0.25, 26), speeds, strict=True):
        assert v**2 / (2 * 0.25) + 0.17 * v <= 0.25 - x + 1e-12
        assert not clip(box((min(x, 0.249), 0.0, 0.3)), 0.25, 0.0, 0.0)[2]


def test_an_older_pose_leaves_less_room() -> None:
    workspace = box((0.2, 0.0, 0.3))
    fresh = workspace.clip(np.array([0.25, 0, 0, 0, 0, 0.0]), NOW)[0][0]
    older = workspace.clip(np.array([0.25, 0, 0, 0, 0, 0.0]), NOW + 80 * MS)[0][0]
    # The robot may have come 20 mm nearer since.
    assert older == box((0.22, 0.0, 0.3)).clip(np.array([0.25, 0, 0, 0, 0, 0.0]), NOW)[0][0] < fresh
    assert workspace.clip(np.array([0.25, 0, 0, 0, 0, 0.0]), NOW - 4 * MS)[0][0] == fresh


def test_positions_are_clipped_into_the_box() -> None:
    spec = ActionSpec(dimensions=tuple(linear(n, "absolute") for n in "xyz"))
    kept, names, excessive = box(None, spec).clip(np.array([0.28, -0.2, 0.3]), NOW)
    assert (kept.tolist(), names, excessive) == ([0.25, -0.2, 0.3], ("x",), False)
    kept, names, excessive = box(None, spec).clip(np.array([0.0, -0.31, 0.61]), NOW)
    assert (kept.tolist(), names, excessive) == ([0.0, -0.25, pytest.approx(0.55)], ("y", "z"), True)


def test_axes_may_have_other_names_and_be_fewer() -> None:
    planar = ActionSpec(dimensions=(linear("ahead"), linear("left")))
    with pytest.raises(ConfigError, match="those of this bundle are: ahead in 'base_link', left in 'base_link'"):
        Workspace(BOX, planar, LIMITS, P)
    workspace = Workspace(dataclasses.replace(BOX, axes=("left", None, "ahead")), planar, LIMITS, P)
    workspace.take(np.array([0.26, 9.0, 0.04]), NOW, NOW)
    kept, names, _ = workspace.clip(np.array([-0.1, 0.1]), NOW)
    assert (kept.tolist(), names) == ([0.0, 0.0], ("left", "ahead"))


@pytest.mark.parametrize(
    "spec",
    [
        ActionSpec(dimensions=(linear("x"), linear("y"), linear("z", frame="tool"))),
        ActionSpec(dimensions=(linear("x"), linear("w"))),
        ActionSpec(dimensions=(ActionDimension(name="x", quantity="joint", unit="rad", semantics="absolute"),)),
    ],
)
def test_a_box_that_does_not_hold_everything_is_refused(spec: ActionSpec) -> None:
    with pytest.raises(ConfigError, match=r"limits\.workspace: axes"):
        Workspace(BOX, spec, LIMITS, P)


def test_a_margin_too_thin_for_the_limits_is_refused() -> None:
    thin = dataclasses.replace(BOX, margin=0.01)
    with pytest.raises(ConfigError, match=r"margin of 0\.01 m .* must be at least 0\.018 m"):
        Workspace(thin, twist_spec(), LIMITS, P)
    Workspace(dataclasses.replace(BOX, margin=0.019), twist_spec(), LIMITS, P)


# The pose


def test_a_pose_must_have_come_and_be_recent() -> None:
    workspace = box(None)
    assert workspace.problem(NOW) == "no pose of the tool has come yet"
    workspace.take(np.zeros(3), NOW, NOW)
    assert workspace.problem(NOW + 100 * MS) == ""
    assert workspace.problem(NOW + 101 * MS) == "the pose of the tool is 0.101 s old"


def test_what_cannot_be_a_pose_is_ignored() -> None:
    workspace = box()
    inside = clip(workspace, 0.1, 0.1, 0.1)
    at_the_face = np.array([0.3, 0.3, 0.6])
    workspace.take(np.array([0.3, np.nan, 0.6]), NOW, NOW)
    workspace.take(at_the_face, NOW - 1, NOW)
    workspace.take(at_the_face, NOW + 6 * MS, NOW)
    workspace.take(np.array([0.3, 0.3]), NOW, NOW)
    assert clip(workspace, 0.1, 0.1, 0.1) == inside
    workspace.take(at_the_face, NOW + 5 * MS, NOW)
    assert clip(workspace, 0.1, 0.1, 0.1)[0] == [0.0, 0.0, 0.0]


# The stop short of a face


@pytest.mark.parametrize(
    ("x", "way", "stop"),
    [
        (0.20, 0.08, False),
        (0.20, 0.09, True),
        (0.29, 0.0, False),
        (0.29, -0.2, False),
        (0.29, 0.0001, False),
        (0.29, 0.001, True),
        (-0.20, -0.08, False),
        (-0.20, -0.09, True),
        (-0.29, 0.2, False),
        (-0.29, -0.001, True),
    ],
)
def test_a_stop_that_would_end_outside_is_begun_in_time(x: float, way: float, stop: bool) -> None:
    assert box((x, 0.0, 0.3)).must_stop(np.zeros(6), np.array([way, 0, 0, 9.0, 9.0, 9.0]), NOW) is stop


def test_the_stop_counts_the_age_of_the_pose() -> None:
    workspace = box((0.2, 0.0, 0.3))
    assert not workspace.must_stop(np.zeros(6), np.array([0.07, 0, 0, 0, 0, 0]), NOW)
    assert workspace.must_stop(np.zeros(6), np.array([0.07, 0, 0, 0, 0, 0]), NOW + 60 * MS)


def test_a_position_is_where_its_command_is() -> None:
    spec = ActionSpec(dimensions=tuple(linear(n, "absolute") for n in "xyz"))
    workspace = box((0.29, 0.0, 0.3), spec)
    assert not workspace.must_stop(np.array([0.2, 0, 0.3]), np.array([0.08, 0, 0]), NOW + 90 * MS)
    assert workspace.must_stop(np.array([0.2, 0, 0.3]), np.array([0.09, 0, 0]), NOW)


# The whole guard


class Robot:
    """Does what it is told; tells where it is ``delay`` ticks later, every other tick."""

    def __init__(
        self, limits: Limits = LIMITS, delay: int = 4, start: tuple[float, float, float] = (0, 0, 0.3)
    ) -> None:
        self.rig = GuardRig(limits=limits)
        self.way = [np.array(start, dtype=np.float64)] * (delay + 1)
        self.delay = delay
        self.tell()

    def tell(self) -> None:
        t_ns = self.rig.clock.now_ns() - self.delay * 10 * MS
        self.rig.guard.on_pose(self.way[-1 - self.delay], t_ns)

    def move(self, seconds: float, action: list[float]) -> None:
        for k in range(round(seconds / P)):
            if k % 10 == 0:
                self.rig.health()
                self.rig.chunk([*action, 0, 0, 0])
            command = self.rig.step().command
            velocity = np.zeros(3) if command is None else command.values[:3]
            self.way.append(self.way[-1] + velocity * P)
            if k % 2 == 0:
                self.tell()

    @property
    def path(self) -> Vector:
        return np.array(self.way)


def patient(limits: Limits = LIMITS) -> Limits:
    """A violation budget that is never used up, and chunks that may jump."""
    return dataclasses.replace(limits, excess_count=1000, excess_window=1000, seam_ratio=1e6)


def test_without_a_pose_there_is_no_arming_and_without_a_new_one_no_motion() -> None:
    rig = GuardRig(limits=LIMITS)
    rig.ready()
    assert rig.guard.arm() == ("no_pose: no pose of the tool has come yet",)
    rig.guard.on_pose(np.array([0, 0, 0.3]), rig.clock.now_ns())
    assert rig.guard.arm() == ()
    rig.run(0.1, [0.2, 0, 0, 0, 0, 0])
    assert rig.guard.state is State.ARMED
    rig.run(0.02)
    assert rig.faults() == ["no_pose"]


def test_a_robot_that_is_driven_at_a_face_comes_to_rest_before_the_margin() -> None:
    robot = Robot(patient())
    robot.rig.arm()
    robot.move(4.0, [0.25, 0, 0])
    assert 0.23 < robot.path[-1, 0] <= 0.25
    assert robot.path[:, 0].max() <= 0.25
    assert {r.verdict.reason for r in robot.rig.results} == {"policy"}
    robot.move(2.0, [-0.25, 0.05, 0])
    assert robot.path[-1, 0] < 0
    assert robot.path[-1, 1] > 0.05


def test_turning_sideways_does_not_spoil_the_braking() -> None:
    thin = dataclasses.replace(BOX, margin=0.02)
    robot = Robot(patient(dataclasses.replace(LIMITS, workspace=thin)))
    robot.rig.arm()
    for k in range(60):
        robot.move(0.1, [0.2, 0.25 * (-1) ** (k // 2), 0.25 * (-1) ** (k // 3)])
    assert robot.path[:, 0].max() > 0.27
    assert np.abs(robot.path[:, :2]).max() <= 0.3
    assert "workspace" in {r.verdict.reason for r in robot.rig.results}
    assert robot.rig.guard.state is State.ARMED


def test_a_policy_that_keeps_pushing_latches() -> None:
    robot = Robot(start=(0.24, 0, 0.3))
    robot.rig.arm()
    robot.move(3.0, [0.25, 0, 0])
    assert robot.rig.guard.state is State.LATCHED
    assert robot.rig.faults() == ["excess"]
    clips = [e for e in robot.rig.events if e.kind == "clip"]
    assert clips[-1].raw[0] == 0.25
    assert clips[-1].sent[0] == 0.0


def test_a_robot_outside_may_come_in() -> None:
    robot = Robot(patient(), start=(0.4, 0, 0.3))
    robot.rig.arm()
    robot.move(1.0, [0.25, 0, 0])
    assert robot.path[:, 0].max() == 0.4
    robot.move(3.0, [-0.2, 0, 0])
    assert robot.path[-1, 0] < 0.2


# The lower faces, and the edges of what counts


def test_noise_at_a_lower_margin_is_cut_and_not_counted_either() -> None:
    assert clip(box((-0.26, 0.0, 0.3)), -0.012, 0.0, 0.0) == ([0.0, 0.0, 0.0], ("x",), False)
    assert not clip(box((-0.26, 0.0, 0.3)), -0.0125, 0.0, 0.0)[2]
    assert not clip(box((0.26, 0.0, 0.3)), 0.0125, 0.0, 0.0)[2]


def test_slowing_towards_a_lower_margin_is_not_counted() -> None:
    kept, names, excessive = clip(box((-0.24, 0.0, 0.3)), -0.25, 0.0, 0.0)
    assert (names, excessive) == (("x",), False)
    assert -0.1 < kept[0] < 0.0


def test_an_older_pose_leaves_less_room_below_too() -> None:
    target = np.array([-0.25, 0, 0, 0, 0, 0.0])
    older = box((-0.2, 0.0, 0.3)).clip(target, NOW + 80 * MS)[0][0]
    assert older == box((-0.22, 0.0, 0.3)).clip(target, NOW)[0][0] > box((-0.2, 0.0, 0.3)).clip(target, NOW)[0][0]


def test_the_speed_that_is_left_is_what_half_the_acceleration_limit_can_stop() -> None:
    # v²/(2·0.25) + (0.15 + 2·0.01)·v = room, solved for v.
    expected = 0.25 * (np.sqrt(0.17**2 + 2 * 0.04 / 0.25) - 0.17)
    assert clip(box((0.21, 0.0, 0.3)), 0.25, 0.0, 0.0)[0][0] == pytest.approx(expected, abs=1e-9)


def test_a_place_on_the_face_itself_is_clipped_and_not_counted() -> None:
    spec = ActionSpec(dimensions=tuple(linear(n, "absolute") for n in "xyz"))
    kept, names, excessive = box(None, spec).clip(np.array([0.3, -0.3, 0.3]), NOW)
    assert (kept.tolist(), names, excessive) == ([0.25, -0.25, 0.3], ("x", "y"), False)


def test_a_robot_that_rests_or_leaves_a_lower_face_is_not_stopped() -> None:
    outside = box((-0.31, 0.0, 0.3))
    rest = np.zeros(6)
    assert not outside.must_stop(rest, rest, NOW)
    assert not outside.must_stop(rest, np.array([1e-4, 0, 0, 0, 0, 0]), NOW)
    assert not outside.must_stop(rest, np.array([-1e-4, 0, 0, 0, 0, 0]), NOW)
    assert outside.must_stop(rest, np.array([-2e-4, 0, 0, 0, 0, 0]), NOW)


def test_of_two_poses_with_one_stamp_the_later_counts() -> None:
    workspace = box((0.0, 0.0, 0.3))
    workspace.take(np.array([0.26, 0.0, 0.3]), NOW, NOW)
    assert clip(workspace, 0.2, 0.0, 0.0)[0][0] == 0.0


def test_the_box_s_spare_axes_need_no_dimension() -> None:
    planar = ActionSpec(dimensions=(linear("x"), linear("y")))
    workspace = Workspace(BOX, planar, LIMITS, P)
    workspace.take(np.array([0.26, 0.0, 9.0]), NOW, NOW)
    assert workspace.clip(np.array([0.1, 0.1]), NOW)[1] == ("x",)


def test_a_harder_stop_needs_less_margin() -> None:
    hard = dataclasses.replace(LIMITS, linear=dataclasses.replace(LIMITS.linear, deceleration=2.0))
    # (3 + 1) ticks at full speed; the gain of 0.02 m/s makes the stop 0.02·(0.25/2 + smoothing) longer.
    expected = 0.04 * 0.25 + 0.02 * (0.25 / 2.0 + hard.linear.smoothing_s)
    thin = dataclasses.replace(BOX, margin=0.001)
    with pytest.raises(ConfigError, match=f"at least {expected:.3f} m".replace(".", r"\.")):
        Workspace(thin, twist_spec(), hard, P)
