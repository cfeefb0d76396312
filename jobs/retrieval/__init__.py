"""From chunks to a vector store, and from pairs to examples: the contexts that a question retrieves, joined to a prompt.

In: `chunks` and `pairs`. Out: `index` and `examples`. May import `parsing`, `models`, `review` and `run`.
"""

from __future__ import annotations
