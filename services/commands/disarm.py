"""Bring the robot to a controlled stop; from then on no command reaches it."""

from __future__ import annotations

from functools import partial

from jetvla.services.operator import add_guard_options, ask_guard

configure, run = add_guard_options, partial(ask_guard, "disarm")
