"""When the robot is told anything."""

from __future__ import annotations

from jetvla.runtime.guard.publication import Publication


def test_zeros_for_a_while_after_a_stop_then_nothing() -> None:
    publication = Publication(100)
    assert not publication.on
    assert not publication.tick(True, 0)
    publication.begin()
    assert publication.on
    assert [publication.tick(False, 10), publication.tick(True, 20), publication.tick(True, 119)] == [False] * 3
    assert publication.on
    assert publication.tick(True, 120)
    assert not publication.on
    assert not publication.tick(True, 1000)


def test_motion_in_between_starts_the_while_anew() -> None:
    publication = Publication(100)
    publication.begin()
    moments = [(True, 0), (True, 90), (False, 95), (True, 100), (True, 199), (True, 200)]
    assert [publication.tick(resting, t) for resting, t in moments] == [False] * 5 + [True]
    publication.begin()
    assert not publication.tick(True, 500)
    assert publication.on
