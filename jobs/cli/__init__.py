"""The command line: reads arguments, opens a run, shows its progress, and says how it ended.

In: arguments. Out: an exit code, and text on the terminal. May import every other package; none imports it.
"""

from __future__ import annotations
