"""From papers to chunks: deal files into shards, read each one in a worker process, clean, cut, and choose its split.

In: paths of papers. Out: the datasets `papers` and `chunks`. May import `models` and `run`.
"""

from __future__ import annotations
