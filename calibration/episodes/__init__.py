"""Recorded episodes: images, a sentence, state and actions, step by step."""

from jetvla.calibration.episodes.episode import Episode
from jetvla.calibration.episodes.formats import open_episodes
from jetvla.calibration.episodes.writer import write_episode

__all__ = ["Episode", "open_episodes", "write_episode"]
