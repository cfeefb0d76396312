"""The `respond` job: each model answers a sample of the questions, with the same contexts.

The contexts are those that `augment` retrieved; the prompt and the system prompt are those of the training data. Only
the model differs. For the comparison without retrieval each model also gets the bare question, with the same system
prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from engine.errors import Permanent
from engine.job import Item, Job, ShardRows
from engine.records import Record
from engine.requests import Call
from jobs.config import Evaluate
from jobs.evaluation.asked import Asked, Compared, response_id, ways
from jobs.evaluation.sample import Sample
from jobs.models.chat import chat, text
from jobs.models.prompts import qa_prompt
from jobs.records import Context, Example, Pair, Response
from jobs.registry import REVIEWS
from jobs.retrieval.index import Retriever
from jobs.review.decisions import used

__all__ = ["Responder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    id: str
    row: str
    model: Compared
    pair: Pair
    title: str
    contexts: list[Context]
    prompts: list[str]
    retrieval: bool


@dataclass(frozen=True, kw_only=True)
class Responder:
    """Asks every model in ``models()``, by the name of its row, each pair in the sample of `asked`.

    ``system_prompt`` is a function of the paper's title; ``reviewed`` says whether people have reviewed pairs.
    """

    asked: Asked
    retriever: Retriever
    models: Callable[[], Mapping[str, Compared]]
    system_prompt: Callable[[str], str]
    settings: Evaluate
    reviewed: bool = False

    def job(self, *, fingerprint: Mapping[str, Any], slots: int) -> Job:
        return Job(
            name="respond",
            reads=("pairs", "examples", *([REVIEWS] if self.reviewed else [])),
            writes="responses",
            row=Response,
            expand=self.expand,
            process=self.process,
            origin=lambda row: row.id,
            # The sample is drawn from all pairs; the tuned model is there when fine-tuning has ended.
            waits_for=("deal", "augment", "answer", "finetune"),
            prepare=self.asked.draw,
            prepared=self.asked.prepared,
            # Other models, or another sample, open a sealed shard again.
            variant=lambda: self.asked.stamp(self.models()),
            fingerprint=fingerprint,
            keeps=True,
            slots=slots,
        )

    def expand(self, shard: ShardRows) -> Iterator[Item]:
        for question in _questions(shard, self.models(), self.asked.sample, self.settings):
            yield Item(id=question.id, value=question)

    async def process(self, question: _Question, call: Call) -> Sequence[Record]:
        """Ask one model; raises `Permanent` (kind "no_context") for a pair without contexts that should have some."""
        if not question.contexts and not self.settings.pairs:
            raise Permanent("no chunk was retrieved for this question", kind="no_context")
        prompt = await _prompt(question, self.retriever)
        system = self.system_prompt(question.title)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
        reply = await call(chat(question.model.to, messages, max_tokens=question.model.max_tokens))
        return [_row(question, text(reply))]


def _questions(
    shard: ShardRows, models: Mapping[str, Compared], sample: Sample, settings: Evaluate
) -> Iterator[_Question]:
    """The questions about the pairs of a shard: to every model with retrieval, then to every model without it."""
    pairs = list(used(shard["pairs"], None, shard.get(REVIEWS, ())))
    contexts: dict[str, list[Example]] = {}
    for example in shard["examples"]:
        contexts.setdefault(example.pair_id, []).append(example)
    for retrieval, (name, model) in product((True, False), models.items()):
        for pair in pairs:
            examples = contexts.get(pair.id, [])
            if pair.id in sample and retrieval in ways(settings, contexts=bool(examples)):
                yield _Question(
                    id=response_id(pair.version, name, model.model, retrieval),
                    row=name,
                    model=model,
                    pair=pair,
                    title=examples[0].title if examples else "",
                    contexts=[context for example in examples for context in example.contexts],
                    prompts=[example.prompt for example in examples],
                    retrieval=retrieval,
                )


def _row(question: _Question, response: str) -> Response:
    pair = question.pair
    return Response(
        id=question.id,
        parent=pair.version,
        pair_id=pair.id,
        paper_id=pair.paper_id,
        model=question.row,
        question=pair.question,
        reference=pair.answer,
        response=response,
        contexts=question.contexts if question.retrieval else [],
        split=pair.split,
        retrieval=question.retrieval,
    )


async def _prompt(question: _Question, retriever: Retriever) -> str:
    """The example's own prompt; if each context has an example of its own, a prompt with all contexts."""
    if not question.retrieval:
        return question.pair.question
    if len(question.prompts) == 1:
        return question.prompts[0]
    return qa_prompt(question.pair.question, await retriever.texts([context.chunk_id for context in question.contexts]))
