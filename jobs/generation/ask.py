"""The `ask` job: questions that a chunk answers.

Two recipes: LlamaIndex's own prompts, whose answer is a list of lines; and "grounded", where one request gives the
evidence in the chunk, the question that it answers and the answer, so that each pair can be checked.

A cap on questions is spread evenly: of N chunks, chunk number j gets the whole numbers between j·cap/N and
(j+1)·cap/N, so every part of every paper has its share, and no question is generated in vain.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from engine.datasets import Dataset
from engine.events import Hook, RowsDropped
from engine.job import Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.generation.grounded import Grounded, about
from jobs.generation.manner import NO_MANNER, Manner
from jobs.models.chat import Malformed, ask_until_valid, chat
from jobs.models.prompts import filled
from jobs.models.prompts.llama_index import prompts
from jobs.records import Chunk, Question

__all__ = ["Asked", "Quota", "Recipe", "ask", "grounded", "llama_index", "read_questions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question that a recipe has read from an answer.

    `evidence`, `draft` (its answer) and `type` are set if the recipe has them.
    """

    question: str
    evidence: str = ""
    draft: str = ""
    type: str = ""


Recipe = Callable[[Chunk, int, Call], Awaitable[list[Asked]]]
"""A function from (chunk, number of questions, call) to the questions."""


def ask(
    *,
    recipe: Recipe,
    quota: Quota,
    side_of_question: Callable[[str], str] | None,
    fingerprint: Mapping[str, Any],
    slots: int,
) -> Job:
    """The job that asks about every chunk as many questions as `quota` gives it.

    ``side_of_question`` returns a question's split by its id, if the split is by question.
    """

    async def process(value: tuple[Chunk, int], call: Call) -> Sequence[Record]:
        chunk, count = value
        return [_row(chunk, number, asked) for number, asked in enumerate(await recipe(chunk, count, call))]

    def _row(chunk: Chunk, number: int, asked: Asked) -> Question:
        id_ = make_id("question", chunk.id, number, asked.question)
        return Question(
            id=id_,
            parent=chunk.id,
            chunk_id=chunk.id,
            paper_id=chunk.paper_id,
            question=asked.question,
            split=side_of_question(id_) if side_of_question else chunk.split,
            evidence=asked.evidence,
            draft=asked.draft,
            type=asked.type,
        )

    return Job(
        name="ask",
        reads=("chunks",),
        writes="questions",
        row=Question,
        expand=quota.expand,
        process=process,
        # A cap can only be spread over chunks that are all known.
        waits_for=("parse",) if quota.capped else (),
        prepare=quota.prepare,
        fingerprint=fingerprint,
        slots=slots,
    )


class Quota:
    """How many questions each chunk gets: ``per_chunk``, or its share of ``cap`` over all `chunks` (None: no cap).

    Only chunks that are `worth` asking about get any, and a share of the cap.
    """

    def __init__(
        self,
        chunks: Dataset[Chunk],
        *,
        per_chunk: int,
        cap: int | None,
        worth: Callable[[Chunk], bool] = lambda chunk: True,
    ) -> None:
        self._chunks = chunks
        self._per_chunk = per_chunk
        self._cap = cap
        self._worth = worth
        self._before: list[int] = []

    @property
    def capped(self) -> bool:
        return self._cap is not None

    async def prepare(self) -> None:
        if self._cap is not None:
            self._before = [0, *await asyncio.to_thread(lambda: list(accumulate(self._counts())))]

    def _counts(self) -> Iterator[int]:
        """The number of chunks of each shard that are worth asking about."""
        for shard in range(len(list(self._chunks.seals()))):
            yield sum(map(self._worth, self._chunks.read(shard)))

    def expand(self, shard: ShardRows) -> Iterator[Item]:
        for place, chunk in enumerate(filter(self._worth, shard["chunks"])):
            count = self._count(shard.index, place)
            if count:
                yield Item(id=chunk.id, value=(chunk, count))

    def _count(self, shard: int, place: int) -> int:
        if self._cap is None:
            return self._per_chunk
        number, total = self._before[shard] + place, self._before[-1]
        return min(self._per_chunk, (number + 1) * self._cap // total - number * self._cap // total)


def llama_index(max_tokens: int, own: str = "", manner: Manner = NO_MANNER) -> Recipe:
    """The recipe "llama-index": LlamaIndex's question prompt, and the lines of the answer, cleaned.

    `own` is a user's prompt in its place.
    """

    async def recipe(chunk: Chunk, count: int, call: Call) -> list[Asked]:
        if own:
            prompt = filled(own, text=chunk.text, count=count, **about(chunk))
        else:
            query = prompts().question_query.format(num_questions_per_chunk=count)
            prompt = prompts().question_generation.format(context_str=_with_section(chunk), query_str=query)
        request = chat("generator", manner.before([{"role": "user", "content": prompt}]), max_tokens=max_tokens)
        return await ask_until_valid(call, request, lambda answer: read_questions(answer, count))

    return recipe


def _with_section(chunk: Chunk) -> str:
    """The chunk's text, preceded by its headings."""
    return f"Section: {' > '.join(chunk.section)}\n\n{chunk.text}" if chunk.section else chunk.text


def grounded(form: Grounded, hook: Hook) -> Recipe:
    """The recipe "grounded": the evidence, its question and its answer in one request, each checked.

    See `jobs.generation.grounded`. A chunk with nothing worth asking about costs no request. `hook` gets an event for
    pairs that fail a check.
    """

    async def recipe(chunk: Chunk, count: int, call: Call) -> list[Asked]:
        request = form.request(chunk, count)
        if request is None:
            return []
        reading = await ask_until_valid(call, request, lambda reply: form.read(reply, chunk, count))
        if reading.rejected:
            hook(RowsDropped(job="ask", reasons=dict(reading.rejected)))
        return [
            Asked(question=pair.question, evidence=pair.evidence, draft=pair.answer, type=pair.type)
            for pair in reading.pairs
        ]

    return recipe


def read_questions(answer: str, count: int) -> list[Asked]:
    """At most `count` questions from an answer with one question per line.

    Numbers, bullets and emphasis are removed; preambles, fragments and repetitions are left out. Raises `Malformed`
    when nothing is left.
    """
    found: dict[str, Asked] = {}
    for line in answer.splitlines():
        plain = _EMPHASIS.sub("", line)
        rest = _MARK.sub("", plain)
        question = rest.strip().strip('"“”*_').strip()
        is_question = question.endswith("?") or (rest != plain and not question.endswith(":"))
        if is_question and _SHORTEST <= len(question) <= _LONGEST:
            found.setdefault(normalised(question), Asked(question=question))
    if not found:
        raise Malformed("There is no question in it. Write each question on a line of its own.")
    return list(found.values())[:count]


def normalised(question: str) -> str:
    """The letters and digits of a question; two questions with the same ones are the same."""
    return "".join(letter for letter in question.casefold() if letter.isalnum())


_BULLET = r"[-*•–](?!\d)\s*"
_NUMBER = r"\(?(?:Q(?:uestion)?\s*)?\d{1,3}\s*[.):](?!\d)\s*|Q(?:uestion)?\s*:\s*"
_MARK = re.compile(rf"^\s*(?:{_BULLET})?(?:{_NUMBER})|^\s*{_BULLET}", re.IGNORECASE)
_EMPHASIS = re.compile(r"\*\*|__|`")
_SHORTEST, _LONGEST = 10, 600
