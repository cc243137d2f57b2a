"""The soak is a program of several files: its folder is on the path, as it is when it is run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
