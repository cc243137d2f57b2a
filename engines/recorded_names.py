"""A network knows numbers by their place alone: are they called as the recordings call them?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from jetvla.calibration.episodes import Episode
from jetvla.engines.families.settings import ActionNormalization
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.yaml_source import Location, YamlSource

_LISTED = 4


def check_action_names(spec: ActionSpec, episodes: Sequence[Episode], file: Path, *under: str) -> str | None:
    """A warning about names that the recordings do not have; None if there is none, or they name nothing.

    Args:
        spec: read from the keys ``under`` of ``file``.

    Raises:
        ConfigError: naming the first dimension that the recordings have at another place.
    """
    names = spec.names
    for recorded in _distinct(e.action_names for e in episodes):
        if (index := _misplaced(names, recorded)) is not None:
            key: Location = (*under, "dimensions", index)
            place = f"{file}:{YamlSource.read(file).line((*key, 'name'))}: {'.'.join(map(str, key))}"
            raise ConfigError(
                f"{place} is {names[index]!r}, but number {index} of the recorded actions is {recorded[index]!r}: the "
                "policy gives them in the recorded order, so the robot would move the wrong joint; put the dimensions "
                "into the order of the recordings ('jetvla calibrate inspect DATA --write-action-spec FILE' drafts it)"
            )
    for recorded in _distinct(e.action_names for e in episodes):
        if (text := _differences(names, recorded)) is not None:
            return f"WARNING: {file} names actions otherwise than the recordings do, check them: {text}"
    return None


def check_state_names(names: Sequence[str], episodes: Sequence[Episode], source: str) -> None:
    """ConfigError if the recordings have the same state names in another order; ``source`` says who stated ours."""
    for recorded in _distinct(e.state_names for e in episodes):
        if (index := _misplaced(names, recorded)) is not None:
            raise ConfigError(
                f"{source}: state {index} is {names[index]!r}, but number {index} of the recorded state is "
                f"{recorded[index]!r}: the policy takes them in the recorded order; give the names in that order"
            )


def beyond_ranges(spec: ActionSpec, actions: ActionNormalization) -> str | None:
    """A warning about absolute dimensions whose mean in training lies outside their declared range."""
    outside = [
        f"{d.name} ({mean:.4g} is not in {d.range[0]:g} to {d.range[1]:g})"
        for d, mean, std in zip(spec.dimensions, actions.mean, actions.std, strict=True)
        # Mean 0 and standard deviation 1 are of actions that nobody normalised.
        if d.semantics == "absolute" and d.range is not None and (mean, std) != (0, 1)
        if not d.range[0] <= mean <= d.range[1]
    ]
    if not outside:
        return None
    return (
        "WARNING: the mean of training lies outside the range of the action spec, which the guard does not leave; "
        f"check order, unit and range: {_listed(outside)}"
    )


def _distinct(names: Iterable[tuple[str, ...] | None]) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(n for n in names if n is not None))


def _misplaced(names: Sequence[str], recorded: Sequence[str]) -> int | None:
    """The first of ``names`` that ``recorded`` has elsewhere. Another number of names is refused by who reads them."""
    if len(names) != len(recorded):
        return None
    pairs = enumerate(zip(names, recorded, strict=True))
    return next((i for i, (name, other) in pairs if name != other and name in recorded), None)


def _differences(names: Sequence[str], recorded: Sequence[str]) -> str | None:
    if len(names) != len(recorded):
        return None
    pairs = enumerate(zip(names, recorded, strict=True))
    found = [f"{i} is {name!r}, recorded as {other!r}" for i, (name, other) in pairs if name != other]
    return _listed(found) if found else None


def _listed(found: Sequence[str]) -> str:
    more = f", and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return ", ".join(found[:_LISTED]) + more
