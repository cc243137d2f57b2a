"""One guard and one policy to a ``run_dir``: each locks the folder of its spans before it touches anything there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from jetvla.runtime.config import Config
from jetvla.runtime.errors import ConfigError
from jetvla.services.store.lock import lock_within

# One that was just asked to end, and the moment that :func:`refuse_second` looks.
_PATIENCE_S = 0.3


@contextmanager
def single_instance(config: Config, process: str) -> Iterator[None]:
    """Be the only ``process`` of this ``run_dir`` meanwhile; the kernel lets go of the lock whenever a process ends.

    Where the folder cannot be made there are no spans to protect, and nothing is locked.

    Args:
        process: ``"guard"`` or ``"policy"``.

    Raises:
        ConfigError: another one is running.
    """
    folder = config.spans(process).parent
    with ExitStack() as stack:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            try:
                lock_within(descriptor, fcntl.LOCK_EX, _PATIENCE_S)
            except BlockingIOError as error:
                raise ConfigError(
                    f"another {process} is running with run_dir {config.run_dir}; stop it first"
                ) from error
        yield


def refuse_second(config: Config) -> None:
    """ConfigError if a guard or a policy is running already, before either is started."""
    for process in ("guard", "policy"):
        with single_instance(config, process):
            pass
