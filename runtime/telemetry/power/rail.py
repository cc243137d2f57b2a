"""Power rails, and which of them is the whole machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The first set that a machine has is its total. VIN is the input of Thor's carrier board and so of all; VDD_IN that of
# the module (Orin Nano, Orin NX, Xavier NX, TX2); POM_5V_IN the Nano's. AGX Orin measures no input: its three rails add
# up to the module, and VDDQ_VDD2_1V8AO is fed from VIN_SYS_5V0, so that adding it would count it twice. A Thor on a
# carrier board without an INA238 has no VIN. Other boards, such as AGX Xavier, have no total here.
TOTALS: tuple[tuple[str, ...], ...] = (
    ("VIN",),
    ("VDD_IN",),
    ("POM_5V_IN",),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),
)
# RAPL's packages of an x86 machine: processors only, without their memory and the board.
_PACKAGE = "package-"


@dataclass(frozen=True, slots=True)
class Rail:
    """Power through one rail, milliwatts; below zero where a sensor's offset is larger than the load."""

    name: str
    mw: float


def total(rails: Sequence[Rail]) -> Rail | None:
    """The machine's power, under the names of the rails that it is the sum of; None if no total is known."""
    found = {rail.name: rail.mw for rail in rails}
    packages = tuple(name for name in found if name.startswith(_PACKAGE))
    for names in (*TOTALS, packages):
        if names and all(name in found for name in names):
            return Rail("+".join(names), sum(found[name] for name in names))
    return None
