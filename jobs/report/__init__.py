"""The report of a run: scores joined into a table with intervals, plots, costs and failures.

In: all datasets. Out: `results.json` and `report.html`. May import `evaluation`, `tuning` and what these may.
"""

from __future__ import annotations
