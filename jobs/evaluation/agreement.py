"""The agreement judge: the probability that a small model gives to “the response agrees with the reference answer”.

A small model cannot give a meaningful score from 1 to 5, but its probability of "Yes" against "No" ranks right answers
above wrong ones (AUC 0.92 on 30 near misses with the embedded model). The same model often generates and judges, so
this is called a demo judge wherever it is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.requests import Reply, Request
from jobs.models.chat import chat
from jobs.models.prompts import filled, own_prompt

__all__ = ["NO_ANSWER", "Agreement", "agreement_request", "read_agreement"]

NO_ANSWER = "(no answer)"
"""What a judge sees of an empty response."""

_ALTERNATIVES = 20  # how many tokens are looked at: what OpenAI's API allows at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """``probability`` is P(Yes) among Yes and No, from 0 to 1."""

    probability: float

    @property
    def correctness(self) -> float:
        """On the table's scale: 1 for certainly not, 5 for certainly."""
        return round(1 + 4 * self.probability, 2)

    @property
    def passing(self) -> bool:
        return self.probability >= 0.5

    @property
    def feedback(self) -> str:
        return f"demo judge: P(agrees) = {self.probability:.2f}"


def agreement_request(*, question: str, reference: str, response: str, own: str = "") -> Request:
    """Ask the judge for one token, Yes or No, with the probabilities of the tokens that it might have said instead.

    `own` is a user's prompt in place of ours.
    """
    template = own or own_prompt("agreement")
    prompt = filled(template, question=question, reference=reference, response=response or NO_ANSWER)
    return chat("judge", [{"role": "user", "content": prompt}], max_tokens=1, alternatives=_ALTERNATIVES)


def read_agreement(reply: Reply) -> Agreement | None:
    """The agreement by the alternatives of the first token; None if neither word is among them.

    All tokens that spell a word count for it, whatever their case and the spaces and quotes around them. A word that
    is not among the alternatives is less likely than all of them, and counts as impossible.
    """
    said = [(_word(each.token), math.exp(min(each.logprob, 0.0))) for each in reply.alternatives]
    yes, no = (sum(chance for word, chance in said if word == wanted) for wanted in ("yes", "no"))
    total = yes + no
    return Agreement(probability=yes / total) if total > 0 and math.isfinite(total) else None


def _word(token: str) -> str:
    return token.strip(" \t\n\"'“”*.,▁Ġ").casefold()
