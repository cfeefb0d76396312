"""Quirks: deviations of real servers from OpenAI's API, by name, for ``gristmill simulate --quirk NAME``.

answers    what an answer contains beside its text: thoughts, marks, fences, parts, finish reasons, usage
vectors    how embeddings are written
wishes     parameters that a server refuses, and the requests that it wants instead
refusals   requests that are refused: for one record, for a moment, or always
batches    what is done with batches and their files

A new quirk is one line in one of these tables. Each names the family of servers that it was seen at, and a public report.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from jobs.simulator.quirks.answers import ANSWERS
from jobs.simulator.quirks.batches import BATCHES
from jobs.simulator.quirks.quirk import Exchange, Quirk, Refusal
from jobs.simulator.quirks.refusals import REFUSALS
from jobs.simulator.quirks.vectors import VECTORS
from jobs.simulator.quirks.wishes import WISHES

__all__ = ["QUIRKS", "Exchange", "Quirk", "Refusal"]

QUIRKS: Mapping[str, Quirk] = MappingProxyType({**ANSWERS, **VECTORS, **WISHES, **REFUSALS, **BATCHES})
