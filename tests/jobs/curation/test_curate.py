"""The `curate` job: one row a pair, whatever is switched on, and the same rows however the answers come in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from samples import chunk, pair, sealed

from engine.datasets import Dataset
from engine.errors import Permanent
from engine.events import Event, InputFailed, RowsDropped
from engine.requests import Reply, Request
from engine.runner import run
from engine.signals import Stop
from engine.testing import chat_reply, embedding_reply
from jobs.config import Config, Curate
from jobs.curation import near_duplicates
from jobs.curation.critique import critique
from jobs.curation.curate import Curator, kept_pairs, rejections
from jobs.curation.probe import probe
from jobs.records import Chunk, Critique, Curated, Pair, Probe
from jobs.retrieval.index import Retriever

KINDS = {
    "a": "How does a mill grind the corn?",
    "b": "Why does the journal come first?",
    "c": "How is a limit kept?",
    "form": "What is shown in Figure 3?",
}


def planted(name: str, kind: str, *, paper: str) -> Pair:
    mark = " " * (int(name[1]) + 4 * "pqr".index(name[0]))  # of one meaning, but no two the same
    return pair(name, chunk=f"chunk of {paper}", paper=paper, text=KINDS[kind] + mark)


SHARDS = [
    [planted("p1", "a", paper="one"), planted("p2", "b", paper="one"), planted("p3", "a", paper="one")],
    [planted("q1", "b", paper="two"), planted("q2", "form", paper="two")],
    [planted("r1", "c", paper="three"), planted("r2", "c", paper="three"), planted("r3", "a", paper="three")],
]
VECTORS = {KINDS["a"]: (1.0, 0.0, 0.0), KINDS["b"]: (0.0, 1.0, 0.0), KINDS["c"]: (0.0, 0.0, 1.0)}
REASONS = {
    "p1": "",
    "p2": "",
    "p3": "near_duplicate",
    "q1": "near_duplicate",
    "q2": "about_form",
    "r1": "",
    "r2": "near_duplicate",
    "r3": "near_duplicate",
}


class Endpoint:
    """Embeds and judges in an order that only `seed` decides; refuses the questions in `refused`."""

    def __init__(self, seed: int, refused: Sequence[str] = ()) -> None:
        self.requests: list[Request] = []
        self._random = Random(seed)
        self._refused = refused

    async def __call__(self, request: Request) -> Reply:
        self.requests.append(request)
        for _ in range(self._random.randrange(30)):
            await asyncio.sleep(0)
        if request.messages:
            low = KINDS["b"] in request.messages[0]["content"]
            return chat_reply(f'{{"feedback": "So.", "grounded": {2 if low else 4}, "standalone": 5, "useful": 5}}')
        [text] = request.texts
        if text in self._refused:
            raise Permanent("refused", kind="content_filter")
        return embedding_reply([VECTORS[text.strip()]])


def opened(folder: Path, pairs: Sequence[Sequence[Pair]] | None = None) -> dict[str, Dataset[Any]]:
    folder.mkdir(exist_ok=True)
    rows = {"pairs": Pair, "chunks": Chunk, "probes": Probe, "critiques": Critique, "curated": Curated}
    if not names(folder) or pairs is not None:
        chunks = [[chunk(row.chunk_id, paper=row.paper_id) for row in shard[:1]] for shard in SHARDS]
        sealed(folder / "pairs", Pair, *(pairs or SHARDS))
        sealed(folder / "chunks", Chunk, *chunks)
    return {name: Dataset(folder / name, row) for name, row in rows.items()}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def curated(
    folder: Path,
    call: Endpoint,
    *,
    retry: bool = False,
    until: str = "curate",
    pairs: Sequence[Sequence[Pair]] | None = None,
    raised: bool = False,
    **settings: Any,
) -> tuple[dict[str, Dataset[Any]], list[Event]]:
    chosen = Curate(**{"round_trip": False, **settings})
    datasets = opened(folder, pairs)
    events: list[Event] = []
    retriever = Retriever(folder / "store")
    jobs = [
        probe(retriever=retriever, settings=chosen, scope="corpus", fingerprint={}, slots=8),
        *([critique(settings=chosen, max_tokens=100, fingerprint={}, slots=8)] if chosen.critic else []),
        Curator(settings=chosen, datasets=datasets, hook=events.append, raised=raised).job(fingerprint={}),
    ]
    pipeline = [job for job in jobs if job.name == until or until == "curate"]
    pipeline = pipeline if chosen.embeds else pipeline[1:]
    await run(pipeline, datasets, call, stop=Stop(), hook=events.append, retry=lambda job, failure: retry)
    return datasets, events


def reasons(datasets: dict[str, Dataset[Any]]) -> dict[str, str]:
    return {row.pair_id: row.reason for row in datasets["curated"].rows()}


@pytest.mark.parametrize("seed", range(5))
async def test_the_order_of_completion_decides_nothing(tmp_path: Path, seed: int) -> None:
    """However the embeddings come in, the same questions are kept, and the shards have the same bytes."""
    datasets, _ = await curated(tmp_path / "one", Endpoint(seed))
    others, _ = await curated(tmp_path / "two", Endpoint(seed + 100))
    assert reasons(datasets) == REASONS
    for name in ("probes", "curated"):
        for shard in range(len(SHARDS)):
            assert datasets[name].shard(shard).data.read_bytes() == others[name].shard(shard).data.read_bytes()


async def test_shards_decided_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a large run decides many shards at once, their rows have the bytes of those decided one after another."""
    datasets, _ = await curated(tmp_path / "one", Endpoint(0))
    await curated(tmp_path / "two", Endpoint(1), until="probe")
    monkeypatch.setattr(near_duplicates, "GATHERED_FROM", 0)
    read: list[int] = []
    ready = Curator._ready
    monkeypatch.setattr(Curator, "_ready", lambda self, number: read.append(number) or ready(self, number))
    others, _ = await curated(tmp_path / "two", Endpoint(1))
    assert read == [1, 2, 3], "the first shard was decided with all that were ready"
    for shard in range(len(SHARDS)):
        assert datasets["curated"].shard(shard).data.read_bytes() == others["curated"].shard(shard).data.read_bytes()


@pytest.mark.parametrize("older", ["p", "q", "r", "pr", "pq", "pqr", ""])
async def test_a_raise_refuses_no_pair_that_was_kept(tmp_path: Path, older: str) -> None:
    """Whatever shards a raise adds pairs to: those of before are decided as they were, and stand there byte for byte."""
    shards = [[row for row in shard if row.id[0] in older] for shard in SHARDS]
    before, _ = await curated(tmp_path, Endpoint(0), pairs=shards)
    old, lines = reasons(before), [before["curated"].shard(shard).data.read_bytes() for shard in range(len(SHARDS))]
    again = [
        [*shard, *(msgspec.structs.replace(row, raised=1) for row in whole if row not in shard)]
        for shard, whole in zip(shards, SHARDS, strict=True)
    ]
    after, _ = await curated(tmp_path, Endpoint(1), pairs=again, raised=True)
    assert old.items() <= reasons(after).items()
    assert set(reasons(after)) == set(REASONS)
    for shard, line in enumerate(lines):
        assert after["curated"].shard(shard).data.read_bytes().startswith(line)
    kinds = [row.question.strip() for row in kept_pairs(after, Config()).rows()]
    assert sorted(kinds) == sorted(set(KINDS.values()) - {KINDS["form"]})


async def test_a_refusal_is_no_failure(tmp_path: Path) -> None:
    """Refused pairs are rows with a reason and are counted; nothing failed, and a rule-breaker is not embedded."""
    call = Endpoint(0)
    datasets, events = await curated(tmp_path, call)
    assert not [event for event in events if isinstance(event, InputFailed)]
    dropped = [event.reasons for event in events if isinstance(event, RowsDropped)]
    assert len(dropped) == 5
    assert rejections(datasets["curated"]) == {"about_form": 1, "near_duplicate": 4}
    assert len(call.requests) == 7
    kept = kept_pairs(datasets, Config())
    assert [row.id for row in kept.rows()] == ["p1", "p2", "r1"]
    every = kept_pairs(datasets, Config(curate=Curate(rules=False, round_trip=False, near_duplicates=False)))
    assert [row.id for row in every.rows()] == list(REASONS)


async def test_only_rules_cost_nothing(tmp_path: Path) -> None:
    """With rules alone nothing is sent, and there is a folder for nothing else."""
    call = Endpoint(0)
    datasets, _ = await curated(tmp_path, call, near_duplicates=False)
    assert not call.requests
    assert rejections(datasets["curated"]) == {"about_form": 1}
    assert names(tmp_path) == {"pairs", "chunks", "curated"}
    assert "near" not in names(tmp_path / "curated")


async def test_the_critic(tmp_path: Path) -> None:
    """A pair that the critic rates too low is refused with its words, and does not stand in the way of its like."""
    call = Endpoint(0)
    datasets, _ = await curated(tmp_path, call, critic=True)
    assert reasons(datasets) == {**REASONS, "p2": "critic", "q1": "critic"}
    assert {row.detail for row in datasets["curated"].rows() if row.reason == "critic"} == {"grounded 2 of 5: So."}
    assert sum(bool(request.messages) for request in call.requests) == 7


async def test_what_could_not_be_checked_waits_for_a_retry(tmp_path: Path) -> None:
    """A pair whose embedding failed has no row; when a retry has it, what comes after it in its shard is decided anew."""
    first = SHARDS[0][0]
    datasets, events = await curated(tmp_path, Endpoint(0, refused=[first.question]))
    assert [event.id for event in events if isinstance(event, InputFailed)] == ["p1"]
    expected = {id_: reason for id_, reason in REASONS.items() if id_ != "p1"}
    assert reasons(datasets) == {**expected, "p3": ""}
    again, _ = await curated(tmp_path, Endpoint(1), retry=True)
    assert reasons(again) == REASONS
    assert [row.pair_id for row in again["curated"].rows()] == list(REASONS)
