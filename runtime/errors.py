"""Errors that a user can fix.

::

    JetvlaError
    ├── ConfigError      a configuration file or option is wrong
    ├── CheckpointError  a checkpoint is incomplete, mis-shaped or unsafe to load
    ├── EpisodeError     an episode file does not follow its schema
    ├── BundleError      a bundle is incomplete, altered, unsigned or of another schema
    ├── CameraError      a camera cannot be opened or has ended
    ├── EngineError      an engine cannot be loaded or a step failed
    ├── LinkError        a packet on the policy-guard socket breaks the protocol
    ├── ArmingError      arming was refused
    ├── TelemetryError   a sensor of the machine is not there, or a measurement cannot be read
    ├── StoreError       the store of installed bundles refuses, or cannot be written
    ├── FleetError       a fleet's repository is wrong, or what a server sends is not trusted
    └── MissingDependency  an optional library is not installed

Every message says what was wrong, where, and what to do. Any other exception that escapes is a
bug of jetvla and keeps its traceback.
"""

from __future__ import annotations


class JetvlaError(Exception):
    """Root of what a user can fix; the command line prints it without a traceback and exits 1."""


class ConfigError(JetvlaError):
    """A configuration file or a command line option is wrong."""


class CheckpointError(JetvlaError):
    """A checkpoint is incomplete, mis-shaped or unsafe to load."""


class EpisodeError(JetvlaError):
    """An episode file does not follow its schema."""


class BundleError(JetvlaError):
    """A bundle is incomplete, altered, not trusted, or of another schema version."""


class CameraError(JetvlaError):
    """A camera cannot be opened, or its stream has ended."""


class EngineError(JetvlaError):
    """An engine cannot be loaded, or a step failed. A failed step never returns an old output."""


class LinkError(JetvlaError):
    """A packet on the policy-guard socket breaks the protocol."""


class ArmingError(JetvlaError):
    """Arming was refused; the message lists every reason."""


class TelemetryError(JetvlaError):
    """A sensor of the machine is not there, or a stored measurement cannot be read."""


class StoreError(JetvlaError):
    """The store of installed bundles refuses what was asked for, or cannot be written."""


class FleetError(JetvlaError):
    """A fleet's repository is wrong, or a server sent what the device does not trust."""


class MissingDependency(JetvlaError):
    """An optional library is not installed; the message names the command that installs it."""

    def __init__(self, library: str, needed_for: str, install: str) -> None:
        super().__init__(f"{needed_for} needs {library}, which is not installed; install it with: {install}")
