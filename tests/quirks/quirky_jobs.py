"""One record through each job that asks a model, at a simulated endpoint with a quirk, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from samples import chunk, pair, question, response, sealed

from engine.budget import Budget
from engine.errors import Fatal, GristmillError, Permanent
from engine.events import AttemptFailed, Event, Note
from engine.job import Item, Job, ShardRows
from engine.records import Record
from engine.requests import Call
from engine.signals import Stop
from engine.virtualtime import run_virtual
from jobs.config import Config, Curate, Evaluate
from jobs.curation.critique import critique
from jobs.evaluation import judge as judging
from jobs.evaluation.asked import Asked, Compared
from jobs.evaluation.respond import Responder
from jobs.generation import ask as asking
from jobs.generation.answer import answer
from jobs.generation.quota import Wanted
from jobs.models.roles import ModelCalls
from jobs.records import Chunk, Example, Pair, Vector
from jobs.retrieval.index import Retriever, index
from jobs.simulator import simulated_endpoint

__all__ = ["JOBS", "Outcome", "outcome"]

JOBS = ("ask", "answer", "critic", "respond", "judge", "agreement", "embed")

_TEXT = (
    "The mill at the stream grinds forty bushels of wheat each day. Its wheel turns twice a minute when the water is "
    "high, and once when it is low. The miller keeps a ledger of every sack that leaves the house."
)
_CHUNKS = [chunk(f"c{number}", text=f"{_TEXT} This is part {number}.") for number in range(7)]


@dataclass(kw_only=True)
class Outcome:
    """What came of each job: its rows, or the kind of its failure. ``fatal`` is the message that ended all."""

    rows: dict[str, Any] = field(default_factory=dict)
    fatal: str = ""
    notes: list[str] = field(default_factory=list)
    attempts_failed: list[str] = field(default_factory=list)
    requests: int = 0
    cost: float = 0.0


def outcome(quirk: str, folder: Path, settings: Mapping[str, Any]) -> Outcome:
    """Run every job at an endpoint with `quirk`; `settings` are those of all models."""
    return run_virtual(_outcome(quirk, folder, settings))


async def _outcome(quirk: str, folder: Path, settings: Mapping[str, Any]) -> Outcome:
    found = Outcome()

    def hear(event: Event) -> None:
        if isinstance(event, Note):
            found.notes.append(event.text)
        if isinstance(event, AttemptFailed):
            found.attempts_failed.append(event.kind)

    async with simulated_endpoint(quirk=(quirk,) if quirk else (), dimensions=16, output_tokens_sigma=0.0) as server:
        config = _config(server.base_url, settings)
        async with ModelCalls(
            config,
            budget=Budget(usd=None, tokens=None, spent=None),
            weights=None,
            stop=Stop(),
            hook=hear,
            tuned=lambda: None,
        ) as calls:
            for name, work in _works(folder, calls).items():
                try:
                    found.rows[name] = _plain(await work())
                except Permanent as error:
                    found.rows[name] = error.kind
                except Fatal as error:
                    found.rows[name], found.fatal = "fatal", str(error)
                except GristmillError as error:
                    found.rows[name] = type(error).__name__
        found.requests = sum(server.counters.requests.values())
    return found


def _config(url: str, settings: Mapping[str, Any]) -> Config:
    def model(name: str) -> dict[str, Any]:
        return {"model": name, "base_url": url, "api_key_env": "", "batch_size": 8, **settings}

    roles = {role: model("simulated-chat") for role in ("generator", "base", "judge")}
    return Config.model_validate({"models": {**roles, "embedding": model("simulated-embedding")}})


def _works(folder: Path, call: Call) -> dict[str, Callable[[], Awaitable[Any]]]:
    one = pair("p", chunk="c0")
    settings = Curate(critic=True, round_trip=False, near_duplicates=False, rules=False)
    return {
        "ask": lambda: asking.llama_index(500)(Wanted(chunk=_CHUNKS[0], count=2), call),
        "answer": lambda: _first(
            answer(max_tokens=500, fingerprint={}, slots=1),
            ShardRows(0, {"questions": [question("q", chunk="c0")], "chunks": _CHUNKS}),
            call,
        ),
        "critic": lambda: _first(
            critique(settings=settings, max_tokens=500, fingerprint={}, slots=1),
            ShardRows(0, {"pairs": [one], "chunks": _CHUNKS}),
            call,
        ),
        "respond": lambda: _respond(folder, call),
        "judge": lambda: judging.by_score(response("r"), call),
        "agreement": lambda: judging.by_agreement(response("r"), call),
        "embed": lambda: _embed(folder, call),
    }


async def _first(job: Job, shard: ShardRows, call: Call) -> Sequence[Record]:
    item: Item = next(iter(job.expand(shard)))
    return await job.process(item.value, call)


async def _respond(folder: Path, call: Call) -> Sequence[Record]:
    pairs = [pair("p", chunk="c0", split="val")]
    settings = Evaluate(sample=1, pairs="pairs.jsonl")
    asked = Asked(sealed(folder / "pairs", Pair, pairs), sealed(folder / "examples", Example, []), settings, seed=0)
    job = Responder(
        asked=asked,
        retriever=Retriever(folder / "store"),
        models=lambda: {"base": Compared(model="m", to="base", max_tokens=500)},
        system_prompt="You answer about {}.".format,
        settings=settings,
    ).job(fingerprint={}, slots=1)
    assert job.prepare is not None
    await job.prepare()
    return await _first(job, ShardRows(0, {"pairs": pairs, "examples": []}), call)


async def _embed(folder: Path, call: Call) -> Sequence[Record]:
    """Seven chunks, which share a request."""
    job = index(
        chunks=sealed(folder / "chunks", Chunk, _CHUNKS),
        written=sealed(folder / "index", Vector, []),
        fingerprint={},
        slots=7,
        retriever=Retriever(folder / "store"),
    )
    made = await asyncio.gather(
        *(job.process(item.value, call) for item in job.expand(ShardRows(0, {"chunks": _CHUNKS})))
    )
    return [row for rows in made for row in rows]


def _plain(value: Any) -> Any:
    """Rows and other values as plain data."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    return {name: getattr(value, name) for name in value.__slots__} if hasattr(value, "__slots__") else value
