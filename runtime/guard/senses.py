"""What the guard learns from robot and operator, beside the policy: feedback, pose, dead man's switch."""

from __future__ import annotations

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.deadman import Deadman
from jetvla.runtime.guard.following import Feedback, Following
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.workspace import Workspace


class Senses:
    """Holds the newest reports; :meth:`faults` judges them.

    Args:
        workspace: None where no box is configured; then nobody needs the pose.
    """

    def __init__(
        self,
        spec: ActionSpec,
        limits: Limits,
        workspace: Workspace | None,
        needs_deadman: bool,
        needs_feedback: bool,
    ) -> None:
        self.deadman = Deadman(needs_deadman, limits.deadman_s)
        self.feedback = Feedback(len(spec), limits, needs_feedback)
        self._following = Following(spec, limits)
        self._workspace = workspace

    def pose(self, position: Vector, t_ns: int, now_ns: int) -> None:
        """Position [3] of the tool in metres, measured at ``t_ns``."""
        if self._workspace is not None:
            self._workspace.take(position, t_ns, now_ns)

    def faults(self, command: Vector | None, now_ns: int) -> dict[str, str]:
        """Name of each fault that is there at ``now_ns``, with the reason.

        Args:
            command: [D], what the robot is told; None while it is told nothing.
        """
        found = {
            "deadman": self.deadman.problem(now_ns),
            "no_feedback": self.feedback.problem(now_ns),
            "no_pose": "" if self._workspace is None else self._workspace.problem(now_ns),
            "following": "" if command is None else self._following.problem(command, self.feedback.at(now_ns)),
        }
        return {name: why for name, why in found.items() if why}
