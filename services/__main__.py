"""``python -m jetvla.services`` is ``jetvla``."""

import sys

from jetvla.services.cli import main

sys.exit(main())
