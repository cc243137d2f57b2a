"""Parquet files through pyarrow: the rows and columns that are needed, and no more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes.stamp import Stamp, stamp
from jetvla.runtime.errors import EpisodeError, MissingDependency

# Pages of a column are read through a buffer of this size, not whole.
_BUFFER_BYTES = 1 << 20
_REMEDY = "copy the file again from where the data set came from, or remove it"


def load_pyarrow() -> ModuleType:
    """pyarrow; MissingDependency if it is not installed."""
    try:
        import pyarrow
    except ImportError:
        raise MissingDependency("pyarrow", "reading LeRobot data sets", "pip install pyarrow") from None
    module: ModuleType = pyarrow
    return module


def columns(path: Path) -> dict[str, Any]:
    """Name to Arrow type; EpisodeError if the file is missing or damaged."""
    with _opened(path) as file:
        schema = file.schema_arrow
        return dict(zip(schema.names, schema.types, strict=True))


def batches(path: Path, names: Sequence[str], rows: int, groups: Sequence[int] | None = None) -> Iterator[Any]:
    """Columns ``names`` of ``path``, at most ``rows`` rows at a time, in order.

    Args:
        path: the file.
        names: of the columns.
        rows: in memory at once, besides one page of each column.
        groups: row groups to read; all if None.

    Raises:
        EpisodeError: a missing or damaged file, or missing columns.
    """
    with _opened(path) as file:
        missing = sorted(set(names) - set(file.schema_arrow.names))
        if missing:
            raise EpisodeError(f"{path} has no column {', '.join(missing)}; {_REMEDY}")
        chosen = list(range(file.num_row_groups)) if groups is None else list(groups)
        if chosen:
            yield from file.iter_batches(batch_size=rows, row_groups=chosen, columns=list(names))


def matrix(path: Path, name: str, column: Any, width: int) -> NDArray[np.float32]:
    """A column of numbers, or of lists of ``width`` numbers, as float32 [N, width]; EpisodeError if it is another."""
    pa = load_pyarrow()
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type):
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        wrong = lengths[lengths != width]
        flat = column.flatten()
    else:
        wrong = np.ones(int(width != 1))
        flat = column
    if len(wrong) or flat.null_count or not pa.types.is_primitive(flat.type):
        found = f"{wrong[0]:g} numbers" if len(wrong) else str(column.type)
        raise EpisodeError(
            f"{path}: '{name}' has rows of {found}; meta/info.json says {width} numbers each; correct it"
        )
    values: NDArray[np.float32] = flat.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)
    return values


def numbers(path: Path, name: str, width: int, start: int, rows: int) -> NDArray[np.float32]:
    """Rows ``start`` to ``start + rows - 1`` of a column, float32 [rows, width], read-only.

    Memory: the last two row groups asked for stay cached, so that neighbouring episodes of one file are not decoded
    from its beginning each.
    """
    groups = _groups(path)
    parts = [
        _group(path, stamp(path), name, width, group)[max(0, start - first) : start + rows - first]
        for group, first, stop in groups
        if first < start + rows and start < stop
    ]
    values: NDArray[np.float32] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    values.setflags(write=False)
    return values


def cells(path: Path, name: str, rows: Sequence[int]) -> Iterator[Any]:
    """The values of a column at ascending ``rows``, one by one; a few rows are in memory at once."""
    at, wanted = 0, list(rows)
    for group, first, stop in _groups(path):
        if at == len(wanted) or not first <= wanted[at] < stop:
            continue
        row = first
        for batch in batches(path, [name], 8, [group]):
            while at < len(wanted) and wanted[at] < row + batch.num_rows:
                try:
                    yield batch.column(0)[wanted[at] - row].as_py()
                except UnicodeError as error:
                    raise EpisodeError(f"{path}: '{name}', row {wanted[at]}: {error}; {_REMEDY}") from None
                at += 1
            row += batch.num_rows


def rows_of(path: Path, kinds: Mapping[str, type]) -> Iterator[Mapping[str, Any]]:
    """Every row of a small table as a dictionary of columns and values of their ``kinds``: int, float (finite), str.

    EpisodeError names a cell of another kind.
    """
    for batch in batches(path, list(kinds), 1024):
        for row in _values(path, batch):
            wrong = [name for name, kind in kinds.items() if not _is(row[name], kind)]
            if wrong:
                found, kind = row[wrong[0]], kinds[wrong[0]].__name__
                raise EpisodeError(f"{path}: column '{wrong[0]}' has {found!r}, which is no {kind}; {_REMEDY}")
            yield row


def _values(path: Path, batch: Any) -> list[Mapping[str, Any]]:
    try:
        values: list[Mapping[str, Any]] = batch.to_pylist()
    except UnicodeError as error:
        raise EpisodeError(f"{path} holds text that is not UTF-8: {error}; {_REMEDY}") from None
    return values


def _is(value: Any, kind: type) -> bool:
    return type(value) is kind and not (isinstance(value, float) and not math.isfinite(value))


def integers(path: Path, name: str, column: Any) -> NDArray[np.int64]:
    """A column of whole numbers, int64 [N]; EpisodeError if it is another."""
    if not load_pyarrow().types.is_integer(column.type) or column.null_count:
        raise EpisodeError(f"{path}: '{name}' must be whole numbers without gaps, not {column.type}; {_REMEDY}")
    values: NDArray[np.int64] = column.to_numpy(zero_copy_only=False).astype(np.int64)
    return values


def _groups(path: Path) -> list[tuple[int, int, int]]:
    """Number, first row and end of every row group."""
    with _opened(path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    ends = np.cumsum([0, *sizes]).tolist()
    return [(i, ends[i], ends[i + 1]) for i in range(len(sizes))]


@lru_cache(maxsize=2)
def _group(path: Path, _: Stamp, name: str, width: int, group: int) -> NDArray[np.float32]:
    parts = [matrix(path, name, batch.column(0), width) for batch in batches(path, [name], 1 << 16, [group])]
    values: NDArray[np.float32] = np.concatenate(parts)
    values.setflags(write=False)
    return values


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    pa = load_pyarrow()
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise EpisodeError(f"{path} has two columns of one name; {_REMEDY}")
            yield file
    except FileNotFoundError:
        raise EpisodeError(f"{path} is missing; {_REMEDY}") from None
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise EpisodeError(
            f"{path} is truncated, or no parquet file: {str(error).splitlines()[0]}; {_REMEDY}"
        ) from None
