"""Which operators an ONNX file consists of, without the library ``onnx``: a device does not have it.

Only the framing of Protocol Buffers is read (protobuf.dev, "Encoding"): weights are skipped, whatever their size.
Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from jetvla.runtime.errors import BundleError

_MODEL_GRAPH, _GRAPH_NODE, _NODE_OPERATOR = 7, 1, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def count_operators(path: Path) -> Counter[str]:
    """How often each operator stands in the graph; BundleError if ``path`` is not an ONNX file."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model:
            return Counter(_operators(model))
    except (ValueError, IndexError) as error:
        raise BundleError(f"{path} is not an ONNX model ({error}); build the bundle again") from error


def _operators(model: mmap.mmap) -> Iterator[str]:
    for graph in _fields(model, (0, len(model)), _MODEL_GRAPH):
        for node in _fields(model, graph, _GRAPH_NODE):
            for begin, end in _fields(model, node, _NODE_OPERATOR):
                yield model[begin:end].decode()


def _fields(data: mmap.mmap, span: tuple[int, int], wanted: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of each length-delimited field ``wanted`` of the message in ``span``."""
    at, end = span
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + length > end:
            raise ValueError(f"a field ends beyond its message at byte {at}")
        if kind == _BYTES and key >> 3 == wanted:
            yield at, at + length
        at += length


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """The number at ``at`` and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
