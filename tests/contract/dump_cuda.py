"""Prints the API of ``cuda.bindings.driver`` as JSON: number of parameters of functions, members of enumerations."""

from __future__ import annotations

import inspect
import json
from typing import Any

from cuda.bindings import driver

found: dict[str, Any] = {}
for name, value in vars(driver).items():
    if isinstance(value, type):
        # CUDA 13's enumerations are not those of the standard library.
        found[name] = list(getattr(value, "__members__", ()))
    elif name.startswith("cu") and callable(value):
        found[name] = len(inspect.signature(value).parameters)
print(json.dumps(found))
