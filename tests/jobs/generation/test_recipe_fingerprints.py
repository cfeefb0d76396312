"""What a recipe's settings change: the requests of its jobs, and their fingerprints, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from built_pipeline import built
from samples import chunk, pair, processed, question, response

from engine.errors import Permanent
from engine.job import Job, ShardRows
from engine.testing import scripted
from jobs.config import Config, Curate
from jobs.curation.critique import critique
from jobs.evaluation.judge import by_agreement, by_score
from jobs.generation.answer import answer
from jobs.generation.ask import grounded, llama_index
from jobs.generation.copied import Copied
from jobs.generation.grounded import Task
from jobs.generation.manner import Manner
from jobs.generation.quota import Wanted

TABLE: dict[str, Any] = {
    "models": {role: {"model": "m"} for role in ("generator", "base", "judge", "embedding")},
    "curate": {"critic": True},
    "evaluate": {"method": "score", "rejudge": 1},
    "split": {"by": "paper"},
}
PROMPTS = {
    "ask": "{count} on {title} ({section}): {text}",
    "answer": "{question} of {title}: {text}",
    "critic": "{question} {answer} {text}",
    "judge": "{response} {reference} {question}",
}


def fingerprints(folder: Path, table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    config = Config.model_validate({**TABLE, **table}).resolved(papers=30)
    return {job.name: dict(job.fingerprint) for job in built(config, folder) if isinstance(job, Job)}


def test_the_prompt_of_a_job_is_in_its_fingerprint_alone(tmp_path: Path) -> None:
    """A run made before prompts could be replaced keeps its fingerprints; a changed prompt repeats its own job."""
    plain = fingerprints(tmp_path, {})
    assert not any("prompt" in fingerprint for fingerprint in plain.values())
    for name, jobs in {
        "ask": ["ask"],
        "answer": ["answer"],
        "critic": ["critique"],
        "judge": ["judge", "rejudge"],
    }.items():
        found = fingerprints(tmp_path, {"prompts": {"texts": {name: PROMPTS[name]}}})
        assert [job for job in found if found[job] != plain[job]] == jobs
        assert all({**found[job], **plain[job]} == found[job] for job in found)


def test_language_and_audience_are_in_the_fingerprints_of_what_is_written(tmp_path: Path) -> None:
    """Questions and answers alone; nothing is said of them by default."""
    plain = fingerprints(tmp_path, {})
    for key, value in (("language", "German"), ("audience", "nurses")):
        assert not any(key in fingerprint for fingerprint in plain.values())
        found = fingerprints(tmp_path, {"ask": {key: value}})
        assert [job for job in found if found[job] != plain[job]] == ["ask", "answer"]
        assert {**plain["ask"], key: value} == found["ask"]


def test_types_are_in_the_fingerprint_of_questions(tmp_path: Path) -> None:
    """With the seed that draws them, which by default is in none; the order in which shares are written is nothing."""
    grounded_, typed, turned = (
        fingerprints(tmp_path, {"ask": {"recipe": "grounded", "types": types}})
        for types in ({}, {"why": 0.5, "how": 0.5}, {"how": 0.5, "why": 0.5})
    )
    assert typed == turned
    assert [job for job in typed if typed[job] != grounded_[job]] == ["ask"]
    assert typed["ask"] == {**grounded_["ask"], "types": {"why": 0.5, "how": 0.5}, "seed": 0}


def test_the_recipe_of_small_models_has_one_name(tmp_path: Path) -> None:
    """What a run begins as "evidence" with a model on this machine goes on as "grounded"; an endpoint's recipe is another."""
    local = {"models": {}}
    for name in ("auto", "grounded", "evidence"):
        assert fingerprints(tmp_path, {**local, "ask": {"recipe": name}})["ask"]["recipe"] == "stated"
    assert fingerprints(tmp_path, {"ask": {"recipe": "evidence"}})["ask"]["recipe"] == "stated"
    assert fingerprints(tmp_path, {"ask": {"recipe": "grounded"}})["ask"]["recipe"] == "grounded"


async def sent(job: Job | None, shard: ShardRows, reply: str) -> list[Any]:
    """The messages of the one request that `job` makes of `shard`."""
    call = scripted(reply)
    assert job is not None
    await processed(job, shard, call)
    return [(message["role"], message["content"]) for message in call.requests[0].messages]


PAPER = chunk("c", text="A mill {turns} grain into flour, and its two stones never touch each other.")
WANTED = Wanted(chunk=PAPER, count=1)


async def test_questions_by_a_prompt_of_the_user() -> None:
    """Both recipes send the user's prompt alone, filled in, braces of the paper included."""
    expected = f"1 on On Mills (): {PAPER.text}"
    lines = scripted("1. What does a mill grind?")
    await llama_index(512, PROMPTS["ask"])(WANTED, lines)
    pairs = scripted(json.dumps({"pairs": []}), forever=True)
    await grounded(Copied(own=PROMPTS["ask"]), lambda _: None)(WANTED, pairs)
    for request in (*lines.requests, *pairs.requests):
        assert request.messages == [{"role": "user", "content": expected}]
    assert all(request.schema for request in pairs.requests)


async def test_language_and_audience_are_said_before_each_prompt() -> None:
    """As a system message, or behind the words of one; without them every prompt is as it was."""
    manner = Manner(language="German", audience="nurses")
    call = scripted("1. What does a mill grind?", json.dumps({"pairs": []}), "Flour.")
    job = answer(max_tokens=9, manner=manner, fingerprint={}, slots=1)
    await llama_index(512, "", manner)(WANTED, call)
    await grounded(Copied(manner=manner), lambda _: None)(WANTED, call)
    await processed(job, ShardRows(0, {"questions": [question("q", chunk="c")], "chunks": [PAPER]}), call)
    for request in call.requests:
        system, user = request.messages
        assert "Write in German; what you copy from the text stays as it is there." in system["content"]
        assert "You write for nurses: choose what they want to know" in system["content"]
        assert PAPER.text in user["content"]
    assert call.requests[1].messages[0]["content"].endswith("in words that they understand.")
    plain = Copied().request(Task(chunk=PAPER, count=1))
    assert plain is not None
    assert call.requests[1].messages[0]["content"].startswith(plain.messages[0]["content"])
    assert Manner().before(plain.messages) == plain.messages


@pytest.mark.parametrize(
    ("language", "text", "shared"),
    [
        ("", "The mill turns and the stone grinds.", True),
        ("", "Die Mühle dreht sich.", True),
        ("as the paper", "Die Mühle dreht sich.", True),
        ("as the paper", "磨坊研磨谷物，石头不会互相接触。", False),
        ("German", "The mill turns and the stone grinds.", False),
        ("english", "The mill turns and the stone grinds.", True),
        ("English", "Die Mühle dreht sich.", False),
    ],
)
def test_words_are_compared_within_one_language(language: str, text: str, shared: bool) -> None:
    """And only where spaces stand between them."""
    assert Manner(language=language).shares_words(text) is shared


@pytest.mark.parametrize("quotes", [True, False])
async def test_answers_by_a_prompt_of_the_user(quotes: bool) -> None:
    """With quotes, too."""
    job = answer(max_tokens=9, quotes=quotes, own=PROMPTS["answer"], fingerprint={}, slots=1)
    shard = ShardRows(0, {"questions": [question("q", chunk="c", text="Why {x}?")], "chunks": [PAPER]})
    said = await sent(job, shard, "<quote>A mill</quote> It does.")
    assert said == [("user", f"Why {{x}}? of On Mills: {PAPER.text}")]


async def test_a_critic_by_a_prompt_of_the_user() -> None:
    """The rubric's form is asked for as ever."""
    settings = Curate(critic=True, round_trip=False, near_duplicates=False, rules=False)
    job = critique(settings=settings, max_tokens=9, own=PROMPTS["critic"], fingerprint={}, slots=1)
    shard = ShardRows(0, {"pairs": [pair("p", chunk="c")], "chunks": [PAPER]})
    rubric = json.dumps({"feedback": "", "grounded": 5, "standalone": 5, "useful": 5})
    assert await sent(job, shard, rubric) == [("user", f"What does p ask? The answer of p. {PAPER.text}")]


@pytest.mark.parametrize("text", ["Stones.", ""])
async def test_a_judge_by_a_prompt_of_the_user(text: str) -> None:
    """Both methods send it; an empty response is named."""
    row = response("r", text=text)
    score, agrees = scripted("4"), scripted("Yes")
    await by_score(row, score, own=PROMPTS["judge"])
    with pytest.raises(Permanent, match="no probability"):  # a scripted reply has none
        await by_agreement(row, agrees, own=PROMPTS["judge"])
    expected = f"{text or '(no answer)'} Two stones. What grinds?"
    for call in (score, agrees):
        assert call.requests[0].messages == [{"role": "user", "content": expected}]
