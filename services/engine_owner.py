"""Who owns the compiled engines: on an appliance the policy's account, which compiles and replaces them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jetvla.runtime.errors import EngineError
from jetvla.services.policy_account import ACCOUNT


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Let root be the owner of ``folder`` meanwhile, so that the owner can write over whatever is made there.

    That holds for what a failure or a kill leaves too. A folder that is not there yet is made, for the policy's
    account where there is one. Anybody else than root is who he is.

    Raises:
        EngineError: if the folder cannot be made.
    """
    if os.geteuid() != 0:
        yield
        return
    try:
        if not folder.exists():
            _make(folder)
        owner = folder.stat()
    except OSError as error:
        raise EngineError(f"{folder} cannot be made ({error.strerror}); choose another with policy.engines") from error
    if owner.st_uid == 0:
        yield
        return
    former, group = os.getgroups(), os.getegid()
    os.setgroups(_groups(owner.st_uid, owner.st_gid))
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(former)


def _make(folder: Path) -> None:
    folder.mkdir(parents=True)
    try:
        account = pwd.getpwnam(ACCOUNT)
    except KeyError:
        return
    folder.chmod(0o755)
    os.chown(folder, account.pw_uid, account.pw_gid)


def _groups(user: int, group: int) -> list[int]:
    """With them it may open cameras and GPU, as the service does."""
    try:
        return os.getgrouplist(pwd.getpwuid(user).pw_name, group)
    except KeyError:
        return [group]
