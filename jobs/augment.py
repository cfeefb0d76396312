"""The `augment` job: for each pair, the chunks that retrieval finds, put before the question as LlamaIndex's QA prompt.

The notebook's `augment_data_with_retrieval`: the contexts are joined into one example, or make one example each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.errors import Permanent
from engine.jobs import Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.config import Augment
from jobs.embed import embedding, vectors
from jobs.index import Retriever
from jobs.lazy import imported
from jobs.records import Context, Example, Pair

__all__ = ["CONTEXT_SEPARATOR", "augment", "augmented"]

CONTEXT_SEPARATOR = "\n\n"


def augment(*, retriever: Retriever, settings: Augment, fingerprint: Mapping[str, Any], slots: int) -> Job:
    """Make the examples of each pair from the ``top_k`` chunks nearest to its question."""

    async def process(value: tuple[Pair, str], call: Call) -> Sequence[Record]:
        pair, title = value
        reply = await call(embedding([pair.question]))
        found = await retriever.search(
            vectors(reply)[0],
            top_k=settings.top_k,
            paper_id=pair.paper_id if settings.scope == "paper" else None,
            without_split="val" if settings.leave_out_validation and pair.split == "train" else None,
        )
        if not found:
            raise Permanent("no chunk could be retrieved for this question", kind="no_context")
        ranked = [
            (Context(chunk_id=id_, rank=rank, score=score), text) for rank, (id_, score, text) in enumerate(found)
        ]
        groups = [[context] for context in ranked] if settings.separate_context else [ranked]
        return [_example(pair, title, group, await augmented(pair, [text for _, text in group])) for group in groups]

    return Job(
        name="augment",
        reads=("pairs", "chunks"),
        writes="examples",
        row=Example,
        expand=_expand,
        process=process,
        waits_for=("index",),
        fingerprint=fingerprint,
        slots=slots,
    )


async def augmented(pair: Pair, texts: Sequence[str]) -> str:
    """LlamaIndex's QA prompt: the contexts, then the question."""
    llama = await imported("jobs.llama")
    prompt: str = llama.prompts().text_qa.format(context_str=CONTEXT_SEPARATOR.join(texts), query_str=pair.question)
    return prompt


def _example(pair: Pair, title: str, group: Sequence[tuple[Context, str]], prompt: str) -> Example:
    return Example(
        id=make_id("example", pair.id, *(context.chunk_id for context, _ in group)),
        parent=pair.id,
        pair_id=pair.id,
        paper_id=pair.paper_id,
        title=title,
        question=pair.question,
        prompt=prompt,
        answer=pair.answer,
        contexts=[context for context, _ in group],
        split=pair.split,
    )


def _expand(shard: ShardRows) -> Iterator[Item]:
    titles = {chunk.id: chunk.title for chunk in shard["chunks"]}
    for pair in shard["pairs"]:
        yield Item(id=pair.id, value=(pair, titles[pair.chunk_id]))
