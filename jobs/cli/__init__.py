"""The command line: parses arguments, opens a run, shows its progress and its result.

In: arguments. Out: an exit code, and text on the terminal. May import every other package; none imports it.
"""

from __future__ import annotations
