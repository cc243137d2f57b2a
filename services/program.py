"""Another program of this very installation, as a command."""

from __future__ import annotations

import sys

# ``-m`` looks for modules in the current directory first, where anybody may have put one; ``-P`` came with Python 3.11.
_RUN = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def program(module: str) -> list[str]:
    """What ``python -m module`` is, but for the current directory."""
    return [sys.executable, "-c", _RUN, module]
