"""From chunks to pairs: a question about a chunk and its answer, by the recipes "llama-index" and "grounded".

In: the dataset `chunks`, or a file of pairs. Out: `questions` and `pairs`. May import `parsing`, `models` and `run`.
"""

from __future__ import annotations
