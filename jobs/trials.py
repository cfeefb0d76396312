"""What each model of a run is tried with before the run: a request of the kind that its jobs make, as small as can be."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from engine.datasets import Dataset
from engine.errors import Permanent
from engine.requests import Call
from jobs.config import Config
from jobs.curation.critique import critique_request, read_rubric
from jobs.evaluation.stage import judge_method
from jobs.generation.grounded import Task
from jobs.generation.stage import grounded_form
from jobs.models.chat import ask_until_valid, chat
from jobs.models.embeddings import embedding, unpack, vectors
from jobs.models.preflight import Trial
from jobs.records import Chunk, Pair, Response
from jobs.registry import declared
from jobs.run.folder import beginning

__all__ = ["trials"]

Check = Callable[[Call], Awaitable[None]]
_MAX_TOKENS = 64
_QUESTION, _ANSWER = "How many stones does a mill have?", "A mill has two stones."
_TEXT = (
    "A mill has two stones, of which the upper one turns while the lower one lies still. The grain falls through a hole "
    "in the upper stone and is ground between the two."
)


def trials(
    config: Config, datasets: Mapping[str, Dataset[Any]], jobs: Collection[str], *, redo: Collection[str]
) -> list[Trial]:
    """The trials of the models that `jobs` ask; blocks. Models on this machine are not tried.

    Sections that name the same model at the same address are tried once for each kind of request. An embedding must have
    the length of those that the run has, unless `redo` makes them again.
    """
    found: dict[tuple[str, str, str], Trial] = {}
    length = None if "index" in redo else _length(datasets)
    nonce = secrets.token_hex(3)
    for name, declaration in declared(beginning(datasets)).items():
        if name not in jobs or declaration.role is None:
            continue
        sections = ["base", *_candidates(config)] if declaration.role == "base" else [declaration.role]
        for section in sections:
            model = config.model(section)
            kind = _kind(name, config)
            if model.local or kind is None:
                continue
            key = (model.base_url, model.model, kind)
            before = found.get(key)
            first = before.sections[0] if before else section
            found[key] = Trial(
                sections=tuple(dict.fromkeys((*(before.sections if before else ()), section))),
                model=before.model if before else model,
                jobs=(before.jobs if before else frozenset()) | {name},
                check=_check(kind, first, config, nonce, length),
                advice=_ADVICE.get(kind, ""),
            )
    return list(found.values())


def _candidates(config: Config) -> list[str]:
    return [section for section in config.models.sections() if section.startswith("candidates.")]


def _kind(job: str, config: Config) -> str | None:
    """The kind of request that `job` makes; None where another job of the same model makes it anyway."""
    match job:
        case "ask":
            return "grounded" if config.ask.drafts else "chat"
        case "answer":
            return None if config.ask.drafts else "chat"
        case "critique":
            return "rubric"
        case "respond":
            return "system"
        case "judge":
            return "agreement" if config.evaluate.method == "agreement" else "score"
        case "index" | "probe" | "augment" | "similarity":
            return "embedding"
        case _:
            return None


_ADVICE = {
    "grounded": 'name a generator in [models.generator] that answers in JSON, or set ask.recipe = "llama-index"',
    "score": 'name a judge in [models.judge] that keeps to its form, or set evaluate.method = "agreement"',
    "agreement": 'name a judge in [models.judge] that tells log-probabilities, or set evaluate.method = "score"',
    "rubric": "name a judge in [models.judge] that answers by a JSON schema, or set curate.critic = false",
    "embedding": "name the model in [models.embedding] that the run was made with, or --redo index",
}


def _check(kind: str, section: str, config: Config, nonce: str, length: int | None) -> Check:
    most = min(_MAX_TOKENS, config.model(section).max_tokens)

    async def chatted(call: Call) -> None:
        system = [{"role": "system", "content": "You answer in one word."}] if kind == "system" else []
        user = {"role": "user", "content": f"Say the word ready. ({nonce})"}
        await call(chat(section, [*system, user], max_tokens=most))

    async def asked(call: Call) -> None:
        form, task = grounded_form(config), Task(chunk=_chunk(nonce), count=1)
        request = form.request(task)
        if request is not None:
            await ask_until_valid(call, request, lambda reply: form.read(reply, task))

    async def judged(call: Call) -> None:
        await judge_method(config)(_response(nonce), call)

    async def rated(call: Call) -> None:
        own, most = config.prompts.text("critic"), config.models.judge.max_tokens
        request = critique_request(_pair(nonce), _TEXT, max_tokens=most, own=own)
        await ask_until_valid(call, request, read_rubric)

    async def embedded(call: Call) -> None:
        found = len(vectors(await call(embedding([f"{_TEXT} ({nonce})"])))[0])
        if length is not None and found != length:
            raise Permanent(f"its vectors have {found} numbers, those of the run {length}", kind="wrong_length")

    by_kind: Mapping[str, Check] = {"grounded": asked, "rubric": rated, "embedding": embedded}
    return by_kind.get(kind, judged if kind in ("score", "agreement") else chatted)


def _length(datasets: Mapping[str, Dataset[Any]]) -> int | None:
    """How many numbers the run's vectors have; None while it has none."""
    if "index" not in datasets:
        return None
    row = next(iter(datasets["index"].rows()), None)
    return None if row is None else len(unpack(row.vector))


def _chunk(nonce: str) -> Chunk:
    return Chunk(
        id=nonce,
        parent=nonce,
        paper_id=nonce,
        title=f"On mills {nonce}",
        position=0,
        text=_TEXT,
        page_first=0,
        page_last=0,
        split="train",
    )


def _pair(nonce: str) -> Pair:
    return Pair(
        id=nonce, parent=nonce, chunk_id=nonce, paper_id=nonce, question=_QUESTION, answer=_ANSWER, split="train"
    )


def _response(nonce: str) -> Response:
    return Response(
        id=nonce,
        parent=nonce,
        pair_id=nonce,
        paper_id=nonce,
        model="base",
        question=f"{_QUESTION} ({nonce})",
        reference=_ANSWER,
        response="It has two stones.",
        contexts=[],
        split="val",
    )
