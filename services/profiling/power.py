"""Energy of a measurement, from whatever sensor the machine has."""

from __future__ import annotations

from contextlib import closing
from types import TracebackType

from jetvla.runtime.telemetry.power import Sampler, open_power_source
from jetvla.services.profiling.record import PowerFigures


class PowerMeter:
    """Samples power from ``__enter__`` to ``__exit__``."""

    def __enter__(self) -> PowerMeter:
        self._source = closing(open_power_source())
        self._sampler = Sampler(self._source.__enter__())
        self._sampler.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sampler.__exit__(kind, error, trace)
        self._source.__exit__(kind, error, trace)

    def figures(self, actions: int) -> PowerFigures:
        """Of the time that was sampled; ``actions`` were made in it."""
        energy, last = self._sampler.energy(), self._sampler.last
        return PowerFigures(
            rail=energy.rail,
            watts=energy.mean_watts,
            millijoules_per_action=energy.millijoules_per_action(actions),
            actions=actions,
            gaps=energy.gaps,
            held_back=self._sampler.held_back(),
            note="" if last is None else last.note,
        )
