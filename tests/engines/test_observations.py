"""Recordings that are not the policy's, and episodes that would both calibrate and judge."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetvla.calibration.episodes import Episode, open_episodes, write_episode
from jetvla.engines.observations import Choice, action_scale, camera_names, recorded_observations, states_of
from jetvla.engines.policy import Policy
from jetvla.runtime.errors import EpisodeError
from jetvla.runtime.manifest import CameraSpec


class Recorded:
    """An episode's names and numbers."""

    name = "episode"

    def __init__(self, **facts: Any) -> None:
        self.cameras, self.state, self.state_names = ("front",), None, None
        self.actions, self.action_names = np.zeros((3, 7), np.float32), None
        self.__dict__.update(facts)


class Wanted:
    """Two cameras, two numbers of state."""

    cameras = tuple(CameraSpec(name=name, height=8, width=8) for name in ("front", "wrist"))
    state = ("shoulder", "elbow")


@pytest.mark.parametrize("cameras", [("front",), ("front", "left"), ()])
def test_cameras_of_other_names_are_refused(cameras: tuple[str, ...]) -> None:
    with pytest.raises(EpisodeError, match=r"has no camera .*wrist.* name the policy's cameras after them"):
        camera_names(Wanted, Recorded(cameras=cameras))


@pytest.mark.parametrize(
    ("state", "names", "message"),
    [
        (None, None, "episode holds no states, and the policy needs shoulder, elbow; record them too"),
        (np.zeros((3, 5), np.float32), None, "states have 5 numbers, and the policy takes 2; give recordings of"),
        (np.zeros((3, 2), np.float32), ("shoulder", "grip"), "records no state elbow; it has shoulder, grip: state"),
    ],
)
def test_a_state_that_is_not_the_policy_s_is_refused(state: Any, names: Any, message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        states_of(Wanted, Recorded(state=state, state_names=names))


def test_actions_of_another_width_are_refused(policy: Policy) -> None:
    wide = Recorded(actions=np.zeros((3, 8), np.float32))
    with pytest.raises(EpisodeError, match=r"8 numbers, and the action spec has 7 dimensions \(x, y, z, .*give rec"):
        action_scale([wide], policy.settings)


def test_without_actions_every_range_must_be_declared(policy: Policy) -> None:
    with pytest.raises(EpisodeError, match="the range of 'x' is unknown; state 'range:"):
        action_scale([Recorded(actions=None)], policy.settings)


def test_a_copy_of_the_recordings_does_not_judge(policy: Policy, episodes: Path, tmp_path: Path) -> None:
    shutil.copy(episodes / "episode2.hdf5", tmp_path / "new.hdf5")
    with pytest.raises(EpisodeError, match=r"both to calibrate with and to judge by: episode2 \(there called new\)"):
        recorded_observations(open_episodes(episodes), policy.settings, judges=open_episodes(tmp_path))
    with pytest.raises(EpisodeError, match="judge by: episode0, episode1, episode2, episode3; give others"):
        recorded_observations(open_episodes(episodes), policy.settings, judges=open_episodes(episodes))


def test_another_data_set_may_call_its_episodes_the_same(policy: Policy, episodes: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    images = rng.integers(0, 256, (3, 8, 8, 3), np.uint8)
    for name in ("episode0", "evening"):
        write_episode(tmp_path / f"{name}.hdf5", images, "go", rng.normal(size=(3, 7)).astype(np.float32))
    found = recorded_observations(open_episodes(episodes), policy.settings, Choice(4), open_episodes(tmp_path))
    assert found.judges == ("held-out/episode0", "evening")
    assert set(found.episodes).isdisjoint(found.judges)


def test_samples_may_be_written_to(policy: Policy, episodes: Path) -> None:
    """PyTorch warns of arrays that may not; and a user reads it."""
    states = np.arange(6, dtype=np.float32).reshape(3, 2)
    states.setflags(write=False)
    settings = policy.settings.model_copy(update={"state": ("a", "b")})

    class WithState:
        def __init__(self, episode: Episode) -> None:
            self._episode, self.state, self.state_names = episode, np.resize(states, (6, 2)), None
            self.state.setflags(write=False)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._episode, name)

        def __len__(self) -> int:
            return len(self._episode)

    found = recorded_observations([WithState(e) for e in open_episodes(episodes)], settings, Choice(2))
    assert all(sample.state.flags.writeable for sample in (*found.calibration, *found.held_out))
