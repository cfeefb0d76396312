"""The page of a run in a browser: its progress, papers and pairs, served on this machine.

In: all datasets, as they are committed. Out: HTML to who holds the token or the password; of a run only what a reader
decides is written. May import `report` and what it may.
"""

from __future__ import annotations
