"""Makes ``tests/data/tiny-bundle``, which tests of the runtime open where torch is not installed.

Run from the top of the tree: ``python tests/data/make_tiny_bundle.py``
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jetvla.services.commands import build


def main() -> int:
    parser = argparse.ArgumentParser()
    build.configure(parser)
    output = Path(__file__).parent / "tiny-bundle"
    return build.run(
        parser.parse_args(
            ["--random-init", "tiny", "--precision", "int8", "--tolerance", "0.05", "--overwrite", "-o", str(output)]
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
