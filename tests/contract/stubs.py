"""The libraries behind TensorRT's bindings, as empty as the loader allows, so that the bindings can be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# The nine symbols that the bindings of 10.3 to 11.4 leave undefined, by library.
_SYMBOLS = {
    "nvinfer": (
        "createInferBuilder_INTERNAL",
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry",
        "getPluginRegistry",
    ),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
    "nvonnxparser": ("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
}
_DUMPS = Path(__file__).parent


def compile_stubs(folder: Path, major: str) -> Path:
    """Three libraries for TensorRT ``major`` in ``folder``."""
    folder.mkdir()
    for library, symbols in _SYMBOLS.items():
        source = "".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in symbols)
        name = f"lib{library}.so.{major}"
        command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / name), f"-Wl,-soname,{name}"]
        subprocess.run(command, input=source.encode(), check=True)
    return folder


def dump(script: str, bindings: Path, libraries: Path | None = None) -> dict[str, Any]:
    """What ``script`` prints of the API in ``bindings``."""
    environment = {**os.environ, "PYTHONPATH": str(bindings), "LD_LIBRARY_PATH": str(libraries or "")}
    ran = subprocess.run(
        [sys.executable, str(_DUMPS / script)], env=environment, check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, f"{bindings.name} cannot be imported:\n{ran.stderr}"
    api: dict[str, Any] = json.loads(ran.stdout)
    return api
