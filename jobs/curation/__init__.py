"""Curation: which pairs are kept, by rules on words, retrieval round trips, near-duplicates, and a critic.

In: `pairs`. Out: `probes`, `critiques` and `curated`, one row a pair with its reason. May import `retrieval`,
`generation`, `review`, `models` and `run`.
"""

from __future__ import annotations
