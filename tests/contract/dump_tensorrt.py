"""Prints the API of ``tensorrt_bindings`` as JSON: class -> member -> kind, docstring, whether it can be set.

Runs in a process of its own, with stub libraries on LD_LIBRARY_PATH.
"""

from __future__ import annotations

import json
from typing import Any

import tensorrt_bindings


def member(owner: Any, name: str) -> dict[str, Any]:
    value = getattr(owner, name)
    if isinstance(value, property):
        return {"kind": "property", "doc": value.fget.__doc__ or "", "settable": value.fset is not None}
    if isinstance(value, type):
        return {"kind": "class", "doc": value.__qualname__}
    if isinstance(owner, type) and isinstance(value, owner):
        return {"kind": "value", "doc": owner.__qualname__}
    return {"kind": "method" if callable(value) else "constant", "doc": getattr(value, "__doc__", None) or ""}


def members(owner: Any) -> dict[str, dict[str, Any]]:
    return {name: member(owner, name) for name in dir(owner) if not name.startswith("__") or name == "__init__"}


classes: dict[str, Any] = {}
queue = [tensorrt_bindings]
while queue:
    for value in vars(queue.pop()).values():
        own = isinstance(value, type) and value.__module__.startswith("tensorrt_bindings")
        if own and value.__qualname__ not in classes:
            classes[value.__qualname__] = members(value)
            queue.append(value)
module = members(tensorrt_bindings) | {"__version__": {"kind": "constant", "doc": ""}}
print(json.dumps({"version": tensorrt_bindings.__version__, "module": module, "classes": classes}))
