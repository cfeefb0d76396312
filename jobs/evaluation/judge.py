"""The `similarity` and `judge` jobs: two scores for each response, beside its reference answer.

They are two jobs because a record may have only one paid request, so that a crash loses only requests in flight.
`judge` joins both into verdicts. A response that cannot be scored is counted as unscored, never as zero.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import Permanent
from engine.job import Flaw, Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.evaluation.agreement import NO_ANSWER, agreement_request, read_agreement
from jobs.evaluation.asked import Shows
from jobs.evaluation.score_parser import Score, judge_messages, parse_score, scored
from jobs.models.chat import Malformed, ask_until_valid, chat
from jobs.models.embeddings import BAD_VECTOR, cosine, embedding, vectors
from jobs.models.prompts import filled
from jobs.records import Response, Similarity, Verdict

__all__ = ["Judgement", "Method", "by_score", "judge", "similarity", "verdict"]

_FEEDBACK_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A judge's result for one response; `correctness` is from 1 to 5."""

    correctness: float
    passing: bool
    feedback: str


Method = Callable[[Response, Call], Awaitable[Judgement]]
"""How a response is judged, in one call; raises `Permanent` (kind "malformed") when the answer holds no score."""


def similarity(*, shows: Shows, fingerprint: Mapping[str, Any], slots: int) -> Job:
    """LlamaIndex's `SemanticSimilarityEvaluator`: the cosine of the embeddings of response and reference.

    Only the responses for which `shows` is true are scored; rows of others stay.
    """

    async def process(response: Response, call: Call) -> Sequence[Record]:
        ours, reference = vectors(await call(embedding([response.response, response.reference])))
        return [
            Similarity(
                id=make_id("similarity", response.id),
                parent=response.id,
                pair_id=response.pair_id,
                model=response.model,
                semantic_similarity=round(cosine(ours, reference), 6),
            )
        ]

    return Job(
        name="similarity",
        reads=("responses",),
        writes="similarities",
        row=Similarity,
        expand=lambda shard: (Item(id=row.id, value=row) for row in shard["responses"] if shows(row)),
        process=process,
        flaw=Flaw(kind=BAD_VECTOR, reason=_no_number),
        fingerprint=fingerprint,
        keeps=True,
        slots=slots,
    )


def _no_number(row: Similarity) -> str:
    return "the similarity is not a number" if row.semantic_similarity is None else ""


def judge(*, method: Method, shows: Shows, fingerprint: Mapping[str, Any], slots: int) -> Job:
    """The job that scores correctness by `method`: one verdict, with the similarity, per response for which `shows` is
    true.
    """

    def expand(shard: ShardRows) -> Iterator[Item]:
        similarities = {row.parent: row.semantic_similarity for row in shard["similarities"]}
        for response in filter(shows, shard["responses"]):
            yield Item(id=response.id, value=(response, similarities.get(response.id)))

    async def process(value: tuple[Response, float | None], call: Call) -> Sequence[Record]:
        response, semantic_similarity = value
        judgement, unscored = await scored(method(response, call))
        return [verdict(response, semantic_similarity, judgement, judgement.feedback if judgement else unscored)]

    return Job(
        name="judge",
        reads=("responses", "similarities"),
        writes="verdicts",
        row=Verdict,
        expand=expand,
        process=process,
        fingerprint=fingerprint,
        keeps=True,
        slots=slots,
    )


async def by_score(response: Response, call: Call, *, own: str = "") -> Judgement:
    """LlamaIndex's `CorrectnessEvaluator`: a score from 1 to 5, with our parser of the answer.

    `own` is a user's prompt in place of LlamaIndex's.
    """
    if own:
        messages = [{"role": "user", "content": _filled(own, response)}]
    else:
        messages = judge_messages(query=response.question, response=response.response, reference=response.reference)
    score = await ask_until_valid(call, chat("judge", messages, max_tokens=_FEEDBACK_TOKENS), _read_score)
    return Judgement(correctness=score.score, passing=score.passing, feedback=score.feedback)


async def by_agreement(response: Response, call: Call, *, own: str = "") -> Judgement:
    """The probability that the judge gives to “agrees with the reference”, on the scale of 1 to 5.

    `own` is a user's prompt in place of ours, which asks for Yes or No. Raises `Permanent` (kind "malformed") when its reply has no probability of either word.
    """
    request = agreement_request(
        question=response.question, reference=response.reference, response=response.response, own=own
    )
    agreement = read_agreement(await call(request))
    if agreement is None:
        raise Permanent("the judge's answer gives no probability for Yes or No", kind="malformed")
    return Judgement(correctness=agreement.correctness, passing=agreement.passing, feedback=agreement.feedback)


def _filled(own: str, response: Response) -> str:
    said = response.response or NO_ANSWER
    return filled(own, question=response.question, reference=response.reference, response=said)


def _read_score(answer: str) -> Score:
    score = parse_score(answer)
    if score is None:
        raise Malformed("It holds no score. Write a line with only a number from 1 to 5, then the reasoning.")
    return score


def verdict(
    response: Response, semantic_similarity: float | None, judgement: Judgement | None, feedback: str
) -> Verdict:
    """The row of one response; `judgement` is None if there is no score, and `feedback` says why."""
    return Verdict(
        id=make_id("verdict", response.id),
        parent=response.id,
        pair_id=response.pair_id,
        paper_id=response.paper_id,
        model=response.model,
        correctness=judgement.correctness if judgement else None,
        passing=judgement.passing if judgement else None,
        feedback=feedback,
        semantic_similarity=semantic_similarity,
        split=response.split,
        retrieval=response.retrieval,
    )
