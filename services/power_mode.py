"""Sets a Jetson's power mode: ``python -m jetvla.services.power_mode N``, as root, before an engine is compiled for it.

A change that needs a reboot nvpmodel makes only after a yes at a terminal. Without one it is left to nvpmodel.service,
which at boot sets what nvpmodel's file says. What is in force until then is noted, for engines are compiled for it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jetvla.runtime.disk import put_file, remove
from jetvla.runtime.errors import ConfigError, JetvlaError
from jetvla.runtime.nvpmodel import (
    IN_FORCE,
    NVPMODEL,
    STATUS,
    ask_nvpmodel,
    mode_at_boot,
    mode_until_reboot,
    power_modes,
)

_SETTING = "JETVLA_POWER_MODE in /etc/default/jetvla"
_SWITCH_S = 30.0


def main(argv: Sequence[str] | None = None, root: Path = Path("/")) -> int:
    """0 if the mode is in force, or will be after a reboot; 1 if it is no mode, or cannot be set."""
    try:
        said = set_power_mode(" ".join(sys.argv[1:] if argv is None else argv), root)
    except (JetvlaError, OSError) as error:
        print(f"power mode: {error}", file=sys.stderr)
        return 1
    print(said)
    return 0


def set_power_mode(text: str, root: Path) -> str:
    """Set mode ``text``; an empty one leaves it as it is. Returns what came of it.

    Raises:
        ConfigError: if ``text`` is no mode of this Jetson; nothing is changed.
        JetvlaError: if nvpmodel does not answer.
        OSError: if what is to hold after the reboot cannot be written.
    """
    if not text:
        return f"power mode: left as it is, for there is no {_SETTING}"
    mode = _checked(text, root)
    until_reboot, at_boot = mode_until_reboot(root), mode_at_boot(root)
    if until_reboot == mode:
        _keep(mode, root)
        remove(root / IN_FORCE)
        return f"power mode {int(mode)} is in force; no reboot is needed any more"
    if until_reboot and at_boot == mode:
        return _needs_reboot(mode, until_reboot)
    before = _asked(root)
    if before == mode and not until_reboot:
        return f"power mode {int(mode)} is in force"
    _switch(mode, root)
    if _asked(root) == mode:
        remove(root / IN_FORCE)
        return f"power mode {int(mode)} is in force now"
    return _leave_to_boot(mode, until_reboot or before, at_boot, root)


def _checked(text: str, root: Path) -> str:
    """Four digits."""
    modes = power_modes(root)
    named = ", ".join(f"{int(number)} ({name})" for number, name in modes.items()) or "what 'nvpmodel -q' prints"
    if re.fullmatch(r"[0-9]{1,4}", text) is None:
        raise ConfigError(f"{_SETTING} is {text!r}, which is no number; set it to one of: {named}")
    if modes and text.zfill(4) not in modes:
        raise ConfigError(f"{_SETTING} is {text}, a mode that this Jetson does not have; set it to one of: {named}")
    return text.zfill(4)


def _asked(root: Path) -> str:
    answer = ask_nvpmodel(root)
    if not answer.number:
        why = answer.why or f"'nvpmodel -q' gives mode {answer.name} no number"
        raise JetvlaError(f"{why}; 'sudo nvpmodel -q' must answer before {_SETTING} can be obeyed")
    return answer.number


def _switch(mode: str, root: Path) -> None:
    """Its status tells nothing; whether it did anything is asked afterwards. What it says goes to the journal."""
    try:
        subprocess.run(
            [root / NVPMODEL, "-m", str(int(mode))], stdin=subprocess.DEVNULL, timeout=_SWITCH_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise JetvlaError(f"'nvpmodel -m {int(mode)}' did not end within {_SWITCH_S:g} s; try it by hand") from error


def _leave_to_boot(mode: str, in_force: str, at_boot: str, root: Path) -> str:
    # First what holds now: a power cut in between leaves nothing that is wrong.
    (root / IN_FORCE).parent.mkdir(parents=True, exist_ok=True)
    put_file(root / IN_FORCE, f"{in_force}\n".encode())
    if at_boot == mode:
        return (
            f"power mode {int(mode)} should be in force since this boot, for /{STATUS} says so, and mode "
            f"{int(in_force)} is: see 'journalctl -b -u nvpmodel'"
        )
    _keep(mode, root)
    return _needs_reboot(mode, in_force)


def _keep(mode: str, root: Path) -> None:
    """For the next boot, with whatever else is in the file."""
    path = root / STATUS
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        put_file(path, f"pmode:{mode}\n".encode())
        return
    former, held = path.read_text(encoding="utf-8", errors="replace"), path.stat()
    text, found = re.subn(r"pmode:\d+", f"pmode:{mode}", former, count=1)
    content = text if found else f"pmode:{mode}\n"
    put_file(path, content.encode(), held.st_mode & 0o7777, (held.st_uid, held.st_gid))


def _needs_reboot(mode: str, in_force: str) -> str:
    return (
        f"power mode {int(mode)} applies after a reboot, which this change needs: sudo reboot; "
        f"until then mode {int(in_force)} is in force"
    )


if __name__ == "__main__":
    sys.exit(main())
