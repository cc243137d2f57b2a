"""The audit log: what the guard did, as JSON lines, each with the SHA-256 of the line before.

``chain`` is the form of a line, ``folder`` the files on disk, ``log`` the thread that writes them, ``verify`` the check
that nothing was removed, changed, reordered or inserted. The chain has no key: whoever may write the folder can forge
all of it, so send the newest hash (``audit.head``) elsewhere if that matters.
"""
