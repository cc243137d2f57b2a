"""``python -m jetvla.services`` is ``jetvla``."""

import sys

from jetvla.services.cli import main

if __name__ == "__main__":
    sys.exit(main())
