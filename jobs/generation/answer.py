"""The `answer` job: a reference answer for each question, from the question's chunk.

A question that was asked before about the same paper is left out, because neighbouring chunks overlap. With quotes,
every quote of an answer must be in the chunk: the model may correct its answer once, then the question fails with the
kind "unfaithful_quote".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.errors import Permanent
from engine.job import Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call, Request
from jobs.generation.ask import normalised
from jobs.generation.grounded import about
from jobs.generation.manner import NO_MANNER, Manner
from jobs.generation.quotes import Quoted, quoted_prompt, read_quoted
from jobs.generation.shared_chunks import by_turns
from jobs.models.chat import Malformed, ask_until_valid, chat
from jobs.models.prompts import filled
from jobs.models.prompts.llama_index import prompts
from jobs.records import Chunk, Pair, Question

__all__ = ["answer", "read_answer"]


def answer(
    *,
    max_tokens: int,
    quotes: bool = False,
    own: str = "",
    manner: Manner = NO_MANNER,
    fingerprint: Mapping[str, Any],
    slots: int,
) -> Job:
    """The job that answers each question with one request; a question with a draft needs none.

    `own` is a user's prompt in place of LlamaIndex's.
    """
    ask = _ask_quoted if quotes else _ask

    async def process(value: tuple[Question, Chunk], call: Call) -> Sequence[Record]:
        question, chunk = value
        messages = manner.before([{"role": "user", "content": _prompt(question, chunk, quotes=quotes, own=own)}])
        reply = await ask(question, chunk, call, chat("generator", messages, max_tokens=max_tokens))
        return [_pair(question, reply)]

    return Job(
        name="answer",
        reads=("questions", "chunks"),
        writes="pairs",
        row=Pair,
        expand=_expand,
        process=process,
        feeds=by_turns(lambda value: value[0].chunk_id, together=max(1, slots // 2)),
        fingerprint=fingerprint,
        slots=slots,
    )


def read_answer(text: str) -> str:
    """The answer, unchanged; raises `Malformed` for a blank one and for LlamaIndex's "Empty Response"."""
    if text.strip(" .").casefold() in ("", "empty response"):
        raise Malformed("It is empty.")
    return text


def _pair(question: Question, reply: Quoted) -> Pair:
    return Pair(
        id=make_id("pair", question.id, reply.answer),
        parent=question.id,
        chunk_id=question.chunk_id,
        paper_id=question.paper_id,
        question=question.question,
        answer=reply.answer,
        split=question.split,
        evidence=question.evidence,
        quotes=list(reply.quotes),
        type=question.type,
        second_chunk_id=question.second_chunk_id,
        second_evidence=question.second_evidence,
        raised=question.raised,
    )


def _prompt(question: Question, chunk: Chunk, *, quotes: bool, own: str) -> str:
    if own:
        return filled(own, text=chunk.text, question=question.question, **about(chunk))
    if quotes:
        return quoted_prompt(question.question, chunk.text)
    return prompts().text_qa.format(context_str=chunk.text, query_str=question.question)


async def _ask(question: Question, chunk: Chunk, call: Call, request: Request) -> Quoted:
    if question.draft:
        return Quoted(answer=question.draft, quotes=())
    return Quoted(answer=await ask_until_valid(call, request, read_answer), quotes=())


async def _ask_quoted(question: Question, chunk: Chunk, call: Call, request: Request) -> Quoted:
    """A draft is preceded by the sentence that it was written from."""
    if question.draft:
        try:
            return read_quoted(f"<quote>{question.evidence}</quote> {question.draft}", chunk.text)
        except Malformed as fault:
            raise Permanent(str(fault), kind=_UNFAITHFUL) from fault
    return await ask_until_valid(
        call, request, lambda reply: read_quoted(reply, chunk.text), repairs=1, kind=_UNFAITHFUL
    )


_UNFAITHFUL = "unfaithful_quote"


def _expand(shard: ShardRows) -> Iterator[Item]:
    chunks = {chunk.id: chunk for chunk in shard["chunks"]}
    seen: set[tuple[str, str]] = set()
    for question in shard["questions"]:
        key = (question.paper_id, normalised(question.question))
        if key not in seen:
            seen.add(key)
            yield Item(id=question.id, value=(question, chunks[question.chunk_id]))
