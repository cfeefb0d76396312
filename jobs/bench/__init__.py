"""Measuring an endpoint: requests at rising loads, the knee of the curve, and the settings that follow from it.

In: a configured model, or an address. Out: a table, JSON and a page. May import `report`, `models`, `run` and what
these may.
"""

from __future__ import annotations
