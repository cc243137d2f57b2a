"""The wheel holds every module and data file, and needs nothing from the source tree."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("runtime", "calibration", "engines", "services")

IMPORT_ALL = """
import importlib, json, pkgutil, sys
found = {}
for folder in sys.argv[1:]:
    root = importlib.import_module(f"jetvla.{folder}")
    names = [m.name for m in pkgutil.walk_packages(root.__path__, root.__name__ + ".")]
    for name in [root.__name__, *names]:
        found[name] = importlib.import_module(name).__file__
print(json.dumps(found))
"""


def modules_of_the_tree() -> set[str]:
    names = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if "." in path.stem:
                continue  # a launch file, which is data
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.add(".".join(("jetvla", *(p for p in parts if p != "__init__"))))
    return names


@pytest.mark.build
@pytest.mark.ros
def test_every_module_imports_from_an_installed_wheel(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("jetvla-*.whl")
    place = tmp_path / "venv"
    venv.create(place, with_pip=False)
    site = next(place.glob("lib/python*/site-packages"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)], check=True
    )
    # The dependencies of this environment, start-up files included: ROS 2 needs its own. The editable install that
    # lies among them comes after the wheel, and the last line of this test sees to it that it is not what is found.
    dependencies = sysconfig.get_path("purelib")
    (site / "dependencies.pth").write_text(f"import site; site.addsitedir({dependencies!r})")
    # A file, because the start-up of ROS 2's wheels runs Python once more and does not pass on a program text.
    script = tmp_path / "import_all.py"
    script.write_text(IMPORT_ALL)
    listing = subprocess.run(
        [place / "bin/python", script, *FOLDERS], check=True, capture_output=True, cwd=tmp_path, text=True
    )
    found: dict[str, str] = json.loads(listing.stdout.splitlines()[-1])
    assert found.keys() == modules_of_the_tree()
    assert all(Path(file).is_relative_to(place) for file in found.values())
    inside = {str(path.relative_to(site / "jetvla")) for path in (site / "jetvla").rglob("*") if path.is_file()}
    assert {"services/receipt/receipt.html", "services/receipt/receipt.css", "runtime/py.typed"} <= inside
    assert "services/launch/jetvla.launch.py" in inside
    assert {"services/telemetry/grafana/jetvla.json", "services/telemetry/prometheus/alerts.yml"} <= inside
