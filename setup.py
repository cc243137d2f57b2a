"""Maps the top-level folders to packages: ``runtime/`` is ``jetvla.runtime``, and so on."""

from setuptools import find_packages, setup

FOLDERS = ("runtime", "engines", "calibration", "services")

setup(
    packages=[f"jetvla.{p}" for folder in FOLDERS for p in find_packages(include=[folder, f"{folder}.*"])],
    package_dir={f"jetvla.{folder}": folder for folder in FOLDERS},
    package_data={
        f"jetvla.{folder}": [
            "py.typed",
            "zoo/*/*",
            "receipt/*.html",
            "receipt/*.css",
            "profiling/page/*.html",
            "profiling/page/*.css",
            "profiling/page/*.js",
            "telemetry/grafana/*.json",
            "telemetry/prometheus/*.yml",
            "launch/*.launch.py",
        ]
        for folder in FOLDERS
    },
)
