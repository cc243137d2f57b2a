"""The account of the policy's unit."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress

ACCOUNT = "jetvla-policy"


def policy_users() -> set[int]:
    """Users whose processes may be the policy: whoever runs this, and the account where there is one."""
    users = {os.getuid()}
    with suppress(KeyError):
        users.add(pwd.getpwnam(ACCOUNT).pw_uid)
    return users
