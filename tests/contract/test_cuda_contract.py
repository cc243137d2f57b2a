"""What our device memory asks of ``cuda.bindings.driver`` exists, with as many parameters, for CUDA 12 and 13."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "runtime" / "memory" / "cuda_bindings.py"
# Modules that the library's calls are reached by in the source.
_MODULE = "driver"


def names(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every ``driver.X`` and ``driver.X.Y`` as (X, Y); Y is empty for the former."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_module(node.value):
            yield node.attr, ""
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and _is_module(node.value.value):
            yield node.value.attr, node.attr


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every function that is called, directly or through ``_call`` or ``_free_with``, with its number of arguments."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        for position, function in enumerate([node.func, *node.args]):
            if isinstance(function, ast.Attribute) and _is_module(function.value) and function.attr.startswith("cu"):
                yield function.attr, len(node.args) - position


def _is_module(node: ast.expr) -> bool:
    by_name = isinstance(node, ast.Name) and node.id == _MODULE
    return by_name or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_library")


def wrong(source: str, api: dict[str, Any]) -> list[str]:
    tree = ast.parse(source)
    missing = [f"no {x}.{y}" for x, y in names(tree) if x not in api or (y and y not in api[x])]
    return missing + [f"{x} takes {api[x]}, not {n}" for x, n in calls(tree) if x in api and api[x] != n]


def test_all_that_our_code_uses_exists(driver: dict[str, Any]) -> None:
    source = SOURCE.read_text(encoding="utf-8")
    assert wrong(source, driver) == []
    called = {name for name, _ in calls(ast.parse(source))}
    assert called >= {"cuStreamBeginCapture", "cuGraphLaunch", "cuMemcpyHtoDAsync", "cuEventElapsedTime", "cuMemFree"}


def test_all_that_the_tests_on_a_gpu_use_exists(driver: dict[str, Any]) -> None:
    for path in (ROOT / "tests" / "gpu").glob("*.py"):
        assert wrong(path.read_text(encoding="utf-8"), driver) == [], path.name


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("_call(driver.cuGraphInstantiate, graph)", ["cuGraphInstantiate takes 2, not 1"]),
        ("_call(_library().cuStreamWait, s)", ["no cuStreamWait."]),
        ("driver.CUstreamCaptureMode.LOCAL", ["no CUstreamCaptureMode.LOCAL"]),
    ],
)
def test_what_is_not_there_is_found(driver: dict[str, Any], source: str, says: list[str]) -> None:
    assert wrong(source, driver) == says
