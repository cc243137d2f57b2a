"""RAPL: what an x86 processor says it consumed (Documentation/power/powercap/powercap.rst of Linux)."""

from __future__ import annotations

from pathlib import Path

from jetvla.runtime.telemetry.attribute import number, numbered, text
from jetvla.runtime.telemetry.power.rail import Rail

# Microjoules per nanosecond are 10⁶ milliwatts.
_MW = 1e6


class Rapl:
    """Mean power of every domain since the reading before; the first reading has none."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.domains = tuple(numbered(root / "sys/class/powercap", "intel-rapl:"))
        self._before: dict[Path, tuple[int, float]] = {}

    @property
    def readable(self) -> bool:
        """Whether this user may read it; since 2020 that is root alone, by default."""
        return any(number(domain / "energy_uj") is not None for domain in self.domains)

    def read(self, now_ns: int) -> tuple[Rail, ...]:
        """The domains that could be read before and now."""
        found = (self._power(domain, now_ns) for domain in self.domains)
        return tuple(rail for rail in found if rail is not None)

    def _power(self, domain: Path, now_ns: int) -> Rail | None:
        energy = number(domain / "energy_uj")
        if energy is None:
            return None
        before_ns, before = self._before.get(domain, (now_ns, energy))
        self._before[domain] = (now_ns, energy)
        if now_ns <= before_ns:
            return None
        # The counter starts again at 0 after its range.
        spent = energy - before if energy >= before else energy - before + (number(domain / "max_energy_range_uj") or 0)
        return Rail(text(domain / "name") or domain.name, spent / (now_ns - before_ns) * _MW)
