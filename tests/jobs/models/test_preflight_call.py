from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from engine.errors import Fatal, Permanent
from engine.requests import Call, Reply, Request, Usage
from engine.testing import chat_reply, scripted
from jobs.config import Config, Model
from jobs.models.chat import chat
from jobs.models.preflight import Preflight, Trial
from jobs.trials import trials

ORDER = ("ask", "answer", "respond", "judge")
TOGETHER = {"model": "m", "base_url": "http://model.test/v1", "api_key_env": ""}


def trial(section: str, *jobs: str, **settings: Any) -> Trial:
    async def check(call: Call) -> None:
        await call(chat(section, [{"role": "user", "content": "ready?"}], max_tokens=8))

    return Trial(sections=(section,), model=Model(**{**TOGETHER, **settings}), jobs=frozenset(jobs), check=check)


def asked(job: str) -> Request:
    return msgspec.structs.replace(chat("generator", [{"role": "user", "content": job}], max_tokens=8), job=job)


def raising(error: Exception) -> Callable[[Request], Exception]:
    return lambda request: error


async def test_models_of_a_job_and_of_later_ones_are_tried_before_its_first_request() -> None:
    """Jobs whose work is done are not tried; each model is tried once, and then requests pass."""
    call = scripted("ready", forever=True)
    preflight = Preflight([trial("generator", "ask"), trial("judge", "judge")], call, order=ORDER)
    await preflight(asked("respond"))
    await preflight(asked("judge"))
    assert [request.to for request in call.requests] == ["judge", "generator", "generator"]
    await preflight(asked("ask"))
    assert [(request.job, request.to) for request in call.requests[3:]] == [
        ("preflight", "generator"),
        ("ask", "generator"),
    ]


async def test_nothing_is_tried_where_nothing_is_asked() -> None:
    """A run in which nothing is left to ask sends no request at all."""
    call = scripted()
    preflight = Preflight([trial("judge", "judge")], call, order=ORDER)
    await preflight.try_sections({"generator"})
    assert call.requests == []


async def test_all_that_is_wrong_is_said_in_one_line() -> None:
    """Two models that cannot be used are both named; each line says what to change, and no cause but the settings."""
    call = scripted(
        raising(Fatal("the key of [models.base] is refused")),
        raising(Permanent("400: no", kind="refused")),
        forever=True,
    )
    preflight = Preflight([trial("base", "respond"), trial("judge", "judge")], call, order=ORDER)
    with pytest.raises(Fatal) as caught:
        await preflight.try_sections({"base", "judge"})
    assert str(caught.value) == (
        "the key of [models.base] is refused; and [models.judge] m at http://model.test/v1 does not do what the run needs: "
        "400: no; check model and base_url in [models.judge], or leave this check out by --no-preflight"
    )


@pytest.mark.parametrize("kind", ["truncated", "content_filter"])
async def test_an_answer_that_begins_is_an_answer(kind: str) -> None:
    """An answer that was cut off or withheld says nothing against the model."""
    call = scripted(raising(Permanent("cut off", kind=kind)), "ready")
    preflight = Preflight([trial("judge", "judge")], call, order=ORDER)
    assert (await preflight(asked("judge"))).text == "ready"


async def test_what_trials_cost_is_kept() -> None:
    """Costs from before the run's folder may be written are handed over then, later ones at once."""
    kept: list[Usage] = []

    async def keep(usage: Usage) -> None:
        kept.append(usage)

    def answer(request: Request) -> Reply:
        return chat_reply("ready", prompt_tokens=7, completion_tokens=1)

    preflight = Preflight(
        [trial("base", "respond"), trial("judge", "judge")], scripted(answer, forever=True), order=ORDER
    )
    await preflight.try_sections({"base"})
    assert kept == []
    await preflight.keep(keep)
    assert kept == [Usage(requests=1, prompt_tokens=7, completion_tokens=1)]
    await preflight(asked("judge"))
    assert len(kept) == 2


def found(config: Config, *jobs: str) -> list[tuple[tuple[str, ...], list[str]]]:
    return [(each.sections, sorted(each.jobs)) for each in trials(config, {}, jobs or ORDER, redo=())]


def test_roles_that_share_a_model_are_tried_once_for_each_kind() -> None:
    """Sections with one model at one address share a trial where their jobs ask alike."""
    roles = dict.fromkeys(("generator", "base", "judge", "embedding"), TOGETHER)
    config = Config.model_validate(
        {"models": {**roles, "candidates": {"same": TOGETHER}}, "ask": {"recipe": "llama-index"}}
    )
    assert found(config, *ORDER, "index", "augment", "similarity") == [
        (("generator",), ["answer", "ask"]),
        (("embedding",), ["augment", "index", "similarity"]),
        (("base", "candidates.same"), ["respond"]),
        (("judge",), ["judge"]),
    ]


def test_models_on_this_machine_are_not_tried() -> None:
    """A local model is no endpoint: nothing about its address or key can be wrong."""
    assert found(Config(), *ORDER, "index") == []
