"""Faithfulness and relevancy, with the prompts of LlamaIndex's evaluators of these names: yes or no, in one request.

The prompts are used word for word, with all contexts in one prompt. LlamaIndex's parser is not used: it reads every
answer that contains the letters "yes" as yes, and every other as no.
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
"""The metrics that compare a response with its contexts; they do not apply to a response without contexts."""

_AT_FIRST = re.compile(r"\W*(?:answer\W+)?(yes|no)\b", re.IGNORECASE)
_CAPITALS = re.compile(r"\b(?:YES|NO)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A metric's result for one response: ``score`` is on its own scale, None if there is none; see `Assessment`."""

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
    """Whether an answer says yes, by its first word, else by YES or NO in capitals; None if it says neither or both."""
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
