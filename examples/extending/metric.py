"""A metric of one's own: the share of the reference's numbers that the response names.

To have it as ``evaluate.metrics = ["numbers"]``, put the function into ``jobs/evaluation/lexical.py`` and add one line
to its table `LEXICAL`: ``"numbers": numbers``. The table, the intervals and the report follow by themselves. A metric
that asks a model is an entry of `SUPPORT` in ``jobs/evaluation/grounding.py``; an evaluator class of LlamaIndex's, or one
written like it, needs no line: ``evaluate.metrics = ["llama:package.module.Class"]``.
"""

from __future__ import annotations

import re

__all__ = ["numbers"]


def numbers(response: str, reference: str) -> float:
    """From 0 to 1; 1 where the reference names no number."""
    wanted = set(re.findall(r"\d+(?:\.\d+)?", reference))
    named = set(re.findall(r"\d+(?:\.\d+)?", response))
    return len(wanted & named) / len(wanted) if wanted else 1.0
