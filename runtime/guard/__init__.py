"""The guard's pure core: numpy and a clock, no I/O.

::

    chunk ─▶ select ─▶ shape ─▶ check ─▶ command
             faults, arming, stop profile

:class:`jetvla.runtime.guard.core.Guard` composes them. Risk reduction, not a rated safety function:
a robot still needs a hardware emergency stop.
"""
