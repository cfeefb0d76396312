"""Every model answers the sampled questions, and each answer is scored.

In: kept pairs and the vector store. Out: `responses`, `similarities`, `verdicts`, `assessments`, `rejudgements` and
`preferences`. May import `curation`, `retrieval` and what these may.
"""

from __future__ import annotations
