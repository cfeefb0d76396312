"""The `prefer` job: the judge sees two models' answers to one question and says which is better.

The prompts and the parser of the answers are those of LlamaIndex's `PairwiseComparisonEvaluator`. Judges prefer what
they read first, so each two answers are judged twice, in both orders; each order is a record with one paid request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.job import Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.evaluation.asked import Shows
from jobs.evaluation.sample import Sample
from jobs.evaluation.score_parser import scored
from jobs.models.chat import Malformed, ask_until_valid, chat
from jobs.models.prompts.llama_index import prompts
from jobs.records import Preference, Response

__all__ = ["duel_ids", "prefer"]

_AGAINST = "base"
_MODEL_FIRST, _AGAINST_FIRST = "model first", "against first"
_VERDICTS = {"[[A]]": 0, "[[B]]": 1, "[[C]]": None}
"""The mark at the end of the judge's answer, and the answer that it prefers: the first, the second, or neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Duel:
    id: str
    model: Response
    against: Response
    order: str

    @property
    def sides(self) -> tuple[str, str]:
        """The model whose answer the judge reads first, and the other."""
        return ("model", "against") if self.order == _MODEL_FIRST else ("against", "model")

    @property
    def responses(self) -> tuple[Response, Response]:
        first, second = (getattr(self, side) for side in self.sides)
        return first, second


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    place: int | None
    words: str


def prefer(*, chosen: Sample, shows: Shows, max_tokens: int, fingerprint: Mapping[str, Any], slots: int) -> Job:
    """Set each model beside the base on the `chosen` pairs: the first of those that `respond` takes."""

    def expand(shard: ShardRows) -> Iterator[Item]:
        for duel in _duels([row for row in shard["responses"] if row.pair_id in chosen and shows(row)]):
            yield Item(id=duel.id, value=duel)

    async def process(duel: _Duel, call: Call) -> Sequence[Record]:
        texts = prompts()
        first, second = duel.responses
        user = texts.pairwise_user.format(
            query=first.question, reference=first.reference, answer_1=first.response, answer_2=second.response
        )
        messages = [{"role": "system", "content": texts.pairwise_system}, {"role": "user", "content": user}]
        choice, unscored = await scored(ask_until_valid(call, chat("judge", messages, max_tokens=max_tokens), _read))
        return [_row(duel, choice, unscored)]

    return Job(
        name="prefer",
        reads=("responses",),
        writes="preferences",
        row=Preference,
        expand=expand,
        process=process,
        origin=lambda row: row.id,
        waits_for=("respond",),  # the sample is drawn from all pairs
        prepare=chosen.draw,
        prepared=chosen.prepared,
        variant=chosen.stamp,
        fingerprint=fingerprint,
        keeps=True,
        slots=slots,
    )


def duel_ids(responses: Sequence[Response]) -> set[str]:
    """The ids of all possible preferences between `responses`."""
    return {duel.id for duel in _duels(responses)}


def _duels(responses: Sequence[Response]) -> Iterator[_Duel]:
    """Each response with the base's to the same question (with retrieval or without, as its own), in both orders."""
    bases = {(row.pair_id, row.retrieval): row for row in responses if row.model == _AGAINST}
    for response in responses:
        base = bases.get((response.pair_id, response.retrieval))
        if base is not None and base is not response:
            for order in (_MODEL_FIRST, _AGAINST_FIRST):
                id_ = make_id("preference", response.id, base.id, order)
                yield _Duel(id=id_, model=response, against=base, order=order)


def _row(duel: _Duel, choice: _Choice | None, unscored: str) -> Preference:
    winner = None
    if choice is not None:
        winner = "tie" if choice.place is None else duel.sides[choice.place]
    return Preference(
        id=duel.id,
        parent=duel.model.id,
        pair_id=duel.model.pair_id,
        paper_id=duel.model.paper_id,
        model=duel.model.model,
        against=duel.against.model,
        order=duel.order,
        winner=winner,
        split=duel.model.split,
        retrieval=duel.model.retrieval,
        feedback=choice.words if choice else unscored,
    )


def _read(answer: str) -> _Choice:
    """The verdict in the judge's answer. Raises `Malformed` if there is none, or several that differ."""
    places = {place for mark, place in _VERDICTS.items() if mark in answer}
    if len(places) != 1:
        raise Malformed("End with exactly one of [[A]], [[B]] and [[C]].")
    return _Choice(place=places.pop(), words=answer)
