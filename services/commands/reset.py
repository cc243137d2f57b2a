"""Leave LATCHED after a fault that latches, once its cause is gone. Does not arm."""

from __future__ import annotations

from functools import partial

from jetvla.services.operator import add_guard_options, ask_guard

configure, run = add_guard_options, partial(ask_guard, "reset")
