"""What is left of a run, before anything is asked: see `tests/test_raise.py` for whole runs."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobs.cli import left
from jobs.cli.estimate import Corpus, estimate_of
from jobs.config import Config
from jobs.run.configfile import validate


def coming(config: Config, monkeypatch: pytest.MonkeyPatch, *, models: int, **counts: int) -> dict[str, int]:
    """What is left where the jobs have `counts` of rows that are there, and `models` answered so far."""
    monkeypatch.setattr(left, "compared", lambda context: dict.fromkeys(range(models)))
    items = Counter(counts)
    more = left._Coming(pairs=items["answer"] + items["questions"], sampled=6, in_sample=10)
    return left._with_added(cast(Any, SimpleNamespace(config=config)), items, items, more)


def test_what_is_new_goes_down_to_the_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question more is an answer, a probe and, where the sample has room, a response and a judgement more."""
    found = coming(Config(), monkeypatch, models=1, ask=20, questions=30, answer=5, probe=2, respond=1, judge=3)
    assert found["ask"] == 20
    assert found["answer"] == 5 + 30
    assert found["probe"] == 2 + 35
    assert found["respond"] == found["similarity"] == 1 + 6
    assert found["judge"] == 3 + 7
    assert found["index"] == found["assess"] == found["rejudge"] == 0


def test_a_tuned_model_answers_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """More pairs are more training data: the model that comes of them answers the whole sample, with and without retrieval."""
    tuned = validate({"finetune": {"backend": "openai"}, "evaluate": {"without_retrieval": True}})
    assert coming(tuned, monkeypatch, models=2)["respond"] == 2 * 2 * 6
    assert coming(tuned, monkeypatch, models=2, questions=1)["respond"] == 2 * (2 * 6 + 10)
    assert coming(tuned, monkeypatch, models=1)["respond"] == 2 * (2 * 6 + 10)


def test_more_judgements(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the judge is asked again, beside the base's or by a metric follows from the new responses."""
    settings = {"sample": 10, "metrics": ["token_f1", "relevancy"], "rejudge": 5, "pairwise": 2}
    config = validate({"evaluate": settings, "curate": {"critic": True}, "ask": {"recipe": "grounded"}})
    found = coming(config, monkeypatch, models=1, questions=9, respond=4)
    assert {job: found[job] for job in ("answer", "critique", "assess", "rejudge", "prefer")} == {
        "answer": 0,
        "critique": 9,
        "assess": 10,
        "rejudge": 5,
        "prefer": 4,
    }


def test_the_estimate_of_what_is_left() -> None:
    """Each job has its share of the requests, tokens and dollars of a whole run; of batches of texts it is rounded up."""
    models = {
        role: {"model": "m", "base_url": "http://host/v1", "batch_size": 8} for role in ("generator", "embedding")
    }
    models["generator"] |= {"input_usd_per_million": 1, "output_usd_per_million": 1}
    config = validate({"models": models, "ask": {"max_questions": 40, "questions_per_chunk": 1}})
    whole = estimate_of(config, Corpus(chunks=100, characters=40_000))
    nothing = dict.fromkeys(whole, 0)
    part = estimate_of(config, Corpus(chunks=100, characters=40_000, left={**nothing, "ask": 10, "probe": 10}))
    assert (whole["ask"].requests, part["ask"].requests) == (40, 10)
    assert (whole["probe"].requests, part["probe"].requests) == (5, 2)
    assert part["ask"].prompt_tokens == whole["ask"].prompt_tokens // 4
    assert part["ask"].cost_usd == pytest.approx(whole["ask"].cost_usd / 4)
    assert not any(usage.requests for job, usage in part.items() if job not in ("ask", "probe"))
