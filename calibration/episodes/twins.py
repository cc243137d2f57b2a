"""Recordings that are the same one, whatever they are called and wherever they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from jetvla.calibration.episodes.episode import Episode


def twins(ones: Sequence[Episode], others: Sequence[Episode]) -> list[tuple[str, str]]:
    """Names of every two that are equal, one of ``ones`` and one of ``others``.

    Equal are episodes with the same numbers and sentences, and the same first image from every camera. Images are
    decoded only where the rest is equal.
    """
    known: dict[bytes, list[Episode]] = {}
    for episode in others:
        known.setdefault(_numbers(episode), []).append(episode)
    return [(one.name, other.name) for one in ones for other in known.get(_numbers(one), ()) if _look_alike(one, other)]


def _numbers(episode: Episode) -> bytes:
    sha = hashlib.sha256(str(len(episode)).encode())
    for numbers in (episode.actions, episode.state):
        sha.update(b"none" if numbers is None else numbers.tobytes())
    for sentence in episode.instructions:
        sha.update(sentence.encode() + b"\0")
    return sha.digest()


def _look_alike(one: Episode, other: Episode) -> bool:
    if sorted(one.cameras) != sorted(other.cameras):
        return False
    pairs = ((next(one.images(camera, [0])), next(other.images(camera, [0]))) for camera in one.cameras)
    return all(a.shape == b.shape and bool((a == b).all()) for a, b in pairs)
