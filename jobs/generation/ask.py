"""The `ask` job: questions that a chunk answers.

Two recipes: LlamaIndex's own prompts, whose answer is a list of lines; and "grounded", where one request gives the
evidence in the chunk, the question that it answers and the answer, so that each pair can be checked.

How many a chunk is asked for is in `jobs.generation.quota`. A chunk that has questions already is asked for others.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.events import Hook, RowsDropped
from engine.job import Job
from engine.records import Record, make_id
from engine.requests import Call
from jobs.generation.grounded import Form, Task, about
from jobs.generation.manner import NO_MANNER, Manner
from jobs.generation.pair_checks import GroundedPair
from jobs.generation.quota import RAISABLE, Quota, Wanted
from jobs.generation.shares import item_id
from jobs.models.chat import Malformed, ask_until_valid, chat
from jobs.models.prompts import filled, own_prompt
from jobs.models.prompts.llama_index import prompts
from jobs.records import Chunk, Question

__all__ = ["Asked", "Recipe", "ask", "grounded", "llama_index", "read_questions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question that a recipe has read from an answer.

    `evidence`, `draft` (its answer) and `type` are set if the recipe has them, and `second_evidence` if it is about two
    chunks.
    """

    question: str
    evidence: str = ""
    draft: str = ""
    type: str = ""
    second_evidence: str = ""


Recipe = Callable[[Wanted, Call], Awaitable[list[Asked]]]
"""A function from what is wanted of a chunk to questions, other than those that the chunk has already."""


def ask(
    *,
    recipe: Recipe,
    quota: Quota,
    side_of_question: Callable[[str], str] | None,
    fingerprint: Mapping[str, Any],
    slots: int,
    hook: Hook = lambda event: None,
) -> Job:
    """The job that asks about every chunk as many questions as `quota` gives it.

    ``side_of_question`` returns a question's split by its id, if the split is by question. `hook` gets an event for
    questions that the chunk has already.
    """

    async def process(wanted: Wanted, call: Call) -> Sequence[Record]:
        found = await recipe(wanted, call)
        old = {normalised(row.question) for row in wanted.existing}
        new = [asked for asked in found if normalised(asked.question) not in old]
        if not new and found:
            hook(RowsDropped(job="ask", reasons={"duplicate": len(found)}))
        numbered = enumerate(new[: wanted.count], start=wanted.before)
        return [_row(wanted, number, asked, side_of_question) for number, asked in numbered]

    return Job(
        name="ask",
        reads=("chunks",),
        writes="questions",
        row=Question,
        expand=quota.expand,
        process=process,
        origin=lambda row: item_id(row.chunk_id, row.raised),
        # A cap can only be spread over chunks that are all known.
        waits_for=("parse",) if quota.capped else (),
        prepare=quota.prepare,
        variant=quota.stamp,
        prepared=quota.prepared,
        fingerprint=fingerprint,
        raisable=RAISABLE,
        slots=slots,
    )


def _row(wanted: Wanted, number: int, asked: Asked, side_of_question: Callable[[str], str] | None) -> Question:
    chunk = wanted.chunk
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
        second_chunk_id=wanted.second.id if wanted.second and asked.second_evidence else "",
        second_evidence=asked.second_evidence,
        raised=wanted.raised,
    )


def llama_index(max_tokens: int, own: str = "", manner: Manner = NO_MANNER) -> Recipe:
    """The recipe "llama-index": LlamaIndex's question prompt, and the lines of the answer, cleaned.

    `own` is a user's prompt in its place.
    """

    async def recipe(wanted: Wanted, call: Call) -> list[Asked]:
        chunk, count, existing = wanted.chunk, wanted.count, wanted.existing
        if own:
            prompt = filled(own, text=chunk.text, count=count, **about(chunk)) + _besides(existing)
        else:
            query = prompts().question_query.format(num_questions_per_chunk=count) + _besides(existing)
            prompt = prompts().question_generation.format(context_str=_with_section(chunk), query_str=query)
        request = chat("generator", manner.before([{"role": "user", "content": prompt}]), max_tokens=max_tokens)
        # A model that repeats its instructions may still write what was asked for behind them.
        return await ask_until_valid(call, request, lambda answer: read_questions(answer, count + len(existing)))

    return recipe


def _besides(existing: Iterable[Question]) -> str:
    """What asks the model for other questions than those that there are."""
    listed = "\n".join(f"- {row.question}" for row in existing)
    return f"\n{filled(own_prompt('other_questions'), questions=listed)}" if listed else ""


def _with_section(chunk: Chunk) -> str:
    """The chunk's text, preceded by its headings."""
    return f"Section: {' > '.join(chunk.section)}\n\n{chunk.text}" if chunk.section else chunk.text


def grounded(form: Form, hook: Hook) -> Recipe:
    """The recipe "grounded": the evidence, its question and its answer in one request, each checked.

    See `jobs.generation.grounded`. A chunk with nothing worth asking about costs no request. `hook` gets an event for
    pairs that fail a check.
    """

    async def recipe(wanted: Wanted, call: Call) -> list[Asked]:
        task = _task(wanted)
        request = form.request(task)
        if request is None:
            return []
        reading = await ask_until_valid(call, request, lambda reply: form.read(reply, task))
        if reading.rejected:
            hook(RowsDropped(job="ask", reasons=dict(reading.rejected)))
        return [
            Asked(
                question=pair.question,
                evidence=pair.evidence,
                draft=pair.answer,
                type=pair.type,
                second_evidence=pair.second_evidence,
            )
            for pair in reading.pairs
        ]

    return recipe


def _task(wanted: Wanted) -> Task:
    old = [
        GroundedPair(
            evidence=row.evidence,
            question=row.question,
            answer=row.draft,
            type=row.type,
            second_evidence=row.second_evidence,
        )
        for row in wanted.existing
    ]
    return Task(chunk=wanted.chunk, count=wanted.count, types=wanted.types, second=wanted.second, besides=old)


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
