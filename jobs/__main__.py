"""``python -m jobs`` is the command line."""

from __future__ import annotations

import sys

from jobs.cli.main import main

sys.exit(main())
