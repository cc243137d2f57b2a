"""The services of the appliance: installed, enabled, failed?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.system import System

TARGET = "jetvla.target"
UNITS = (
    TARGET,
    *(f"jetvla-{name}.service" for name in ("firstboot", "clocks", "compile", "guard", "policy", "health", "metrics")),
)
# Its end or failure is nothing to the robot.
_METRICS = "jetvla-metrics.service"
_PROPERTIES = "LoadState,UnitFileState,ActiveState,SubState,Result,NRestarts,StatusText"
_ENABLED = ("enabled", "static", "enabled-runtime", "indirect", "alias")


def units(system: System) -> Iterator[Finding]:
    states = {unit: _state(system, unit) for unit in UNITS}
    installed = {unit: state for unit, state in states.items() if state.get("LoadState") == "loaded"}
    if not installed:
        yield Finding("services", False, "not installed", "sudo dpkg -i jetvla_*_arm64.deb", needed=False)
        return
    for unit in UNITS:
        yield replace(_finding(unit, installed.get(unit)), needed=unit != _METRICS)


def _state(system: System, unit: str) -> dict[str, str]:
    answer = system.ask(("systemctl", "show", unit, f"--property={_PROPERTIES}")) or ""
    return dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)


def _finding(unit: str, state: dict[str, str] | None) -> Finding:
    if state is None:
        return Finding(unit, False, "not installed", "install the package again")
    if state.get("ActiveState") == "failed":
        detail = f"failed ({state.get('Result')}), restarted {state.get('NRestarts', '0')} times"
        return Finding(unit, False, detail, f"journalctl -u {unit} -n 50; then sudo systemctl reset-failed {unit}")
    if state.get("UnitFileState") not in _ENABLED:
        return Finding(unit, False, state.get("UnitFileState") or "disabled", f"sudo systemctl enable {unit}")
    said = f": {state['StatusText']}" if state.get("StatusText") else ""
    return Finding(unit, True, f"{state['UnitFileState']}, {state.get('ActiveState')} ({state.get('SubState')}){said}")
