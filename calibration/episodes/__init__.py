"""Recorded episodes: images, a sentence and actions, step by step."""

from jetvla.calibration.episodes.episode import Episode, EpisodeReader, open_episodes
from jetvla.calibration.episodes.hdf5 import Hdf5Reader
from jetvla.calibration.episodes.writer import write_episode

__all__ = ["Episode", "EpisodeReader", "Hdf5Reader", "open_episodes", "write_episode"]
