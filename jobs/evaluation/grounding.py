"""Faithfulness and relevancy, as LlamaIndex's evaluators of these names ask for them: a yes or a no, in one request.

Their prompts are used word for word, with all contexts in one prompt. Their reader is not: it takes every answer that holds
the letters "yes" anywhere for one, and every other for a no.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.requests import Call
from jobs.evaluation.score_parser import spoken
from jobs.models.chat import Malformed, ask_until_valid, chat
from jobs.models.prompts.llama_index import prompts
from jobs.records import Response

__all__ = ["SUPPORT", "Finding", "read_yes_or_no", "support"]

SUPPORT = ("faithfulness", "relevancy")
"""The metrics that say how a response stands to its contexts; they say nothing of one without any."""

_AT_FIRST = re.compile(r"\W*(?:answer\W+)?(yes|no)\b", re.IGNORECASE)
_CAPITALS = re.compile(r"\b(?:YES|NO)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a metric says of one response: ``score`` on its own scale, None when it could not be had; see `Assessment`."""

    score: float | None
    passing: bool | None = None
    feedback: str = ""


async def support(metric: str, call: Call, response: Response, contexts: Sequence[str], *, max_tokens: int) -> Finding:
    """Ask the judge; raises `Permanent` (kind "malformed") when its answer is neither a yes nor a no."""
    texts = prompts()
    template, information = {
        "faithfulness": (texts.faithfulness, response.response),
        "relevancy": (texts.relevancy, f"Question: {response.question}\nResponse: {response.response}"),
    }[metric]
    prompt = template.format(query_str=information, context_str="\n\n".join(map(str.strip, contexts)))
    request = chat("judge", [{"role": "user", "content": prompt}], max_tokens=max_tokens)
    return await ask_until_valid(call, request, _finding)


def read_yes_or_no(text: str) -> bool | None:
    """Whether an answer says yes: its first word, else the one of YES and NO that stands in it in capitals."""
    answer = spoken(text)
    if first := _AT_FIRST.match(answer):
        return first[1].lower() == "yes"
    said = set(_CAPITALS.findall(answer))
    return said == {"YES"} if len(said) == 1 else None


def _finding(answer: str) -> Finding:
    passing = read_yes_or_no(answer)
    if passing is None:
        raise Malformed("It does not begin with YES or NO.")
    return Finding(score=float(passing), passing=passing, feedback=spoken(answer).strip())
