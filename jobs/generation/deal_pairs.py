"""Dealing a file of pairs into shards: the start of a run whose pairs exist already.

The contexts of pairs are written as chunks, and their prompts as examples, so that later jobs work as in a run of
papers. Nothing here is paid for: a shard whose pairs have changed is written again. Responses to unchanged pairs stay,
because a pair's id is a hash of its content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import Any

from engine.datasets import Dataset
from engine.errors import BadInput, Permanent
from engine.events import Hook, Note, ShardSealed
from engine.job import Step
from engine.records import encode, make_id
from engine.requests import Usage
from engine.shards import FailedInput, Seal
from engine.signals import Stop, uninterrupted
from jobs.generation.pair_file import GivenPair, check_pairs, read_pairs
from jobs.models.prompts import qa_prompt
from jobs.models.prompts.replaced import with_own_prompts
from jobs.records import Chunk, Context, Example, Pair
from jobs.run.configfile import validate
from jobs.run.folder import RunFolder

__all__ = ["configured", "deal_pairs"]

PAIRS_PER_SHARD = 500


_SYSTEM_PROMPT = "You are a helpful assistant that answers questions."


@dataclass(slots=True, kw_only=True)
class _Rows:
    """The rows of one shard of each dataset."""

    pairs: list[Pair] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    failures: list[FailedInput] = field(default_factory=list)

    def add(self, pair: Pair, given: GivenPair) -> None:
        self.pairs.append(pair)
        if given.contexts:
            chunks = [_chunk(pair, given, position) for position in range(len(given.contexts))]
            self.chunks += chunks
            self.examples.append(_example(pair, given, chunks))


def configured(path: Path, folder: RunFolder, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The configuration, as a table, of the run in `folder`, new or not, with the pairs of the file at `path`.

    `settings` is the table of a new configuration; None means the configuration of the run. Raises `BadInput` when the
    file holds no pairs, and for a folder that is another run.
    """
    folder.check_usable()
    check_pairs(path)
    before, file = folder.config() if folder.exists else None, str(path.absolute())
    if before is not None and before.evaluate.pairs != file:
        raise BadInput(f"{folder.path} is a run of {before.evaluate.pairs or 'papers'}; choose another --out")
    if settings is None:
        settings = folder.table() if folder.exists else {}
    validate(settings)
    table = deepcopy(dict(settings))
    table.setdefault("evaluate", {})["pairs"] = file
    table.setdefault("export", {}).setdefault("system_prompt", _SYSTEM_PROMPT)
    config = validate(table).resolved(papers=0, before=before)
    return with_own_prompts(config, settings, before).model_dump(exclude_none=True)


def deal_pairs(path: Path, datasets: Mapping[str, Dataset[Any]], *, sample: int, stop: Stop, hook: Hook) -> Step:
    """The step that writes ``pairs``, ``chunks`` and ``examples`` from the file at `path`; if it is gone, they stay."""

    async def run() -> None:
        pairs = datasets["pairs"]
        await asyncio.to_thread(pairs.claim, "deal", {})
        before = len(await asyncio.to_thread(pairs.sealed))
        if before and not await asyncio.to_thread(path.exists):
            hook(Note(job="deal", text=f"{path} is gone; the pairs that were read from it are used"))
            return
        seen: set[str] = set()
        with closing(read_pairs(path)) as found:
            for index in count():
                batch = await asyncio.to_thread(lambda: list(islice(found, PAIRS_PER_SHARD)))
                if not batch and index >= before:  # a file that has become shorter leaves empty shards
                    break
                stop.check()
                seal = await uninterrupted(asyncio.to_thread(_write, datasets, index, await _rows(batch, seen)))
                hook(_told(index, seal))
        if len(seen) > sample:
            hook(Note(job="deal", text=f"{sample} of {len(seen)} pairs are asked, as evaluate.sample says"))

    return Step(name="deal", run=run, writes="pairs")


async def _rows(batch: Sequence[tuple[str, GivenPair | Permanent]], seen: set[str]) -> _Rows:
    rows = _Rows()
    for place, found in batch:
        if isinstance(found, GivenPair):
            pair = _pair(found)
            if pair.id not in seen:
                seen.add(pair.id)
                rows.add(pair, found)
                continue
            found = Permanent("it says the same as a pair before it", kind="duplicate")
        rows.failures.append(FailedInput(id=make_id("given", place), kind=found.kind, reason=f"{place}: {found}"))
    return rows


def _pair(given: GivenPair) -> Pair:
    id_ = make_id("given", given.question, given.answer, given.paper, *given.contexts)
    return Pair(
        id=id_,
        parent="",
        chunk_id="",
        # A pair of no known paper is taken for one by itself, independent of all others.
        paper_id=make_id("paper", given.paper) if given.paper else id_,
        question=given.question,
        answer=given.answer,
        split="val",
    )


def _chunk(pair: Pair, given: GivenPair, position: int) -> Chunk:
    return Chunk(
        id=make_id("given", pair.id, position),
        parent=pair.id,
        paper_id=pair.paper_id,
        title=given.paper or f"Context {position + 1}",
        position=position,
        text=given.contexts[position],
        page_first=0,
        page_last=0,
        split=pair.split,
    )


def _example(pair: Pair, given: GivenPair, chunks: Sequence[Chunk]) -> Example:
    return Example(
        id=make_id("example", pair.id),
        parent=pair.id,
        pair_id=pair.id,
        paper_id=pair.paper_id,
        title=given.paper,
        question=pair.question,
        prompt=qa_prompt(pair.question, given.contexts),
        answer=pair.answer,
        contexts=[Context(chunk_id=chunk.id, rank=rank, score=None) for rank, chunk in enumerate(chunks)],
        split=pair.split,
    )


def _write(datasets: Mapping[str, Dataset[Any]], index: int, rows: _Rows) -> Seal:
    """Write one shard of each dataset, the pairs last; nothing if they exist already."""
    seal = datasets["pairs"].shard(index).seal()
    digest = sha256(b"".join(map(encode, rows.pairs))).hexdigest()
    if seal is not None and seal.sha256 == digest and seal.failures == rows.failures:
        return seal
    datasets["chunks"].write_sealed(index, rows.chunks)
    datasets["examples"].write_sealed(index, rows.examples)
    return datasets["pairs"].write_sealed(index, rows.pairs, rows.failures)


def _told(index: int, seal: Seal) -> ShardSealed:
    return ShardSealed(
        job="deal",
        shard=index,
        inputs=seal.inputs,
        rows=seal.rows,
        failed=len(seal.failures),
        usage=Usage(),
        found=True,
    )
