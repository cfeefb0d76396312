from __future__ import annotations

from typing import Any

import pytest

from jobs import registry
from jobs.cli.both_ways import STAGES, both_ways, turns
from jobs.cli.estimate import Corpus, estimate_of, estimated_lines
from jobs.config import Config
from jobs.models import providers

CORPUS = Corpus(chunks=1000, characters=1000 * 2000)


def configured(**settings: Any) -> Config:
    model = {"input_usd_per_million": 1.0, "output_usd_per_million": 4.0, "requests_per_minute": 100.0}
    remote = {role: {**model, "model": role, **settings} for role in ("generator", "base", "judge", "embedding")}
    return Config.model_validate({"models": remote, "ask": {"recipe": "llama-index"}})


def dollars(line: str) -> float:
    return float(line.split("$")[1].split(",")[0])


def test_both_ways_are_told() -> None:
    """What a run costs and takes request by request and in batches stands side by side, whichever is configured."""
    alone, batched, chosen = both_ways(configured(), CORPUS)
    assert dollars(batched) == pytest.approx(dollars(alone) / 2, abs=1e-4)
    assert ", at least " in alone
    assert "mostly 35 min to 5 h; 5 batches follow each other, and the provider may take 24h for each" in batched
    assert "batch = true" in chosen
    assert list(both_ways(configured(batch=True, batch_window="24h"), CORPUS)) == [alone, batched]


def test_the_configured_way_is_what_the_lines_cost() -> None:
    """Each job's line is at the batch price where it is asked in batches, and limits a minute do not time it."""
    alone, batched, _ = both_ways(configured(), CORPUS)
    for config, way in ((configured(), alone), (configured(batch=True), batched)):
        *_, together = estimated_lines(config, estimate_of(config, CORPUS))
        assert dollars(together) == dollars(way)
        assert ("at least" in together) == (way is alone)


def test_a_stated_discount() -> None:
    """A stated share is what is let off, of every model of that name."""
    alone, batched, _ = both_ways(configured(batch_discount=0.25), CORPUS)
    assert dollars(batched) == pytest.approx(0.75 * dollars(alone), abs=1e-4)


def test_a_short_queue_takes_turns() -> None:
    """Where fewer tokens may wait at the provider than a job has, its batches follow each other."""
    config = configured(batch=True, batch_enqueued_tokens=100_000)
    jobs = estimate_of(config, CORPUS)
    assert turns(config, {"ask": jobs["ask"]}) == -(-jobs["ask"].prompt_tokens // 100_000) > 5
    assert turns(configured(batch=True), jobs) == 5
    assert turns(configured(), jobs) == 0


def test_models_without_batches_have_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is asked of a provider that has batches there is nothing to compare."""
    assert list(both_ways(Config(), CORPUS)) == []
    monkeypatch.setitem(providers.PROVIDERS, "plain", "contextlib:nullcontext")
    assert list(both_ways(configured(provider="plain"), CORPUS)) == []


def test_every_job_that_asks_has_its_stage() -> None:
    """The stages hold each job that calls a role, once."""
    names = [job for stage in STAGES for job in stage]
    assert sorted(names) == sorted(job.name for job in registry.JOBS if job.role)
