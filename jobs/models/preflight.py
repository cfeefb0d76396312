"""Preflight: each model is tried with one small request before anything else is asked of it.

A wrong key, model, address or parameter is found in a second and for a fraction of a cent, and not after the corpus was
parsed and half of it paid for. What a trial costs counts as any request does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from engine.calls import Tally, metered
from engine.errors import Fatal, GristmillError, Permanent
from engine.requests import Call, Reply, Request, Usage
from jobs.config import Model

__all__ = ["Preflight", "Trial"]

Keep = Callable[[Usage], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the model of some `sections` of [models] is tried with, for the `jobs` that ask it.

    `check` sends the request and reads the reply, as a job would: it raises `Permanent` for a reply that no job could
    use. `advice` says what to change then.
    """

    sections: tuple[str, ...]
    model: Model
    jobs: frozenset[str]
    check: Callable[[Call], Awaitable[None]]
    advice: str = ""


class Preflight:
    """A call that lets the first request of a job through once the models of that job and of all later ones were tried.

    So a run in which nothing is left to ask tries nothing. `order` names the jobs in the order of the pipeline.
    """

    def __init__(self, trials: Sequence[Trial], call: Call, *, order: Sequence[str]) -> None:
        self._waiting = list(trials)
        self._call = call
        self._order = {job: place for place, job in enumerate(order)}
        self._passed: set[str] = set()
        self._turn = asyncio.Lock()
        self._paid = Usage()
        self._keep: Keep | None = None

    async def __call__(self, request: Request) -> Reply:
        if request.job not in self._passed:
            await self._let_through(request.job)
        return await self._call(request)

    async def try_before(self, job: str) -> None:
        """Try the models of `job` and of all later ones, where that was not done: its requests come from another process."""
        await self._let_through(job)

    async def try_sections(self, sections: AbstractSet[str]) -> None:
        """Try the models of these sections now. Raises `Fatal`, in one line, where one of them cannot be used."""
        async with self._turn:
            await self._try([trial for trial in self._waiting if not sections.isdisjoint(trial.sections)])

    async def keep(self, keep: Keep) -> None:
        """Hand what trials have cost, and will cost, to `keep`."""
        self._keep = keep
        await self._book(Usage())

    async def _let_through(self, job: str) -> None:
        async with self._turn:
            if job in self._passed:
                return
            place = self._order.get(job, 0)
            later = {name for name, at in self._order.items() if at >= place}
            await self._try([trial for trial in self._waiting if trial.jobs & later])
            self._passed |= later | {job}

    async def _try(self, trials: Sequence[Trial]) -> None:
        outcomes = await asyncio.gather(*(_outcome(trial, self._call) for trial in trials), return_exceptions=True)
        await self._book(sum((paid for paid in outcomes if isinstance(paid, Usage)), Usage()))
        failed = [error for error in outcomes if isinstance(error, BaseException)]
        fatal = [error for error in failed if isinstance(error, Fatal)]
        if failed:
            raise Fatal("; and ".join(dict.fromkeys(map(str, fatal)))) if fatal == failed else failed[0]
        self._waiting = [trial for trial in self._waiting if trial not in trials]

    async def _book(self, paid: Usage) -> None:
        self._paid += paid
        if self._keep is not None and self._paid.requests:
            paid, self._paid = self._paid, Usage()
            await self._keep(paid)


async def _outcome(trial: Trial, call: Call) -> Usage:
    """What the trial cost. Raises `Fatal` where the model cannot be used as it is configured."""
    tally = Tally()
    try:
        await trial.check(metered(call, tally, "preflight"))
    except Permanent as error:
        if error.kind not in _ANSWERED:
            raise Fatal(_line(trial, error)) from error
    except GristmillError as error:
        raise error.costing(tally.usage) from error.__cause__
    return tally.usage


_ANSWERED = {"truncated", "content_filter"}
"""Kinds of failure that say nothing against the model: it took the request and began to answer."""


def _line(trial: Trial, error: Permanent) -> str:
    section, model = trial.sections[0], trial.model
    advice = next((words for name, words in _PARAMETERS if name.search(str(error))), "")
    advice = advice if error.kind == "refused" else trial.advice
    return (
        f"[models.{section}] {model.model} at {model.base_url} does not do what the run needs: {error}; "
        f"{(advice or _CHECK).format(section=section)}, or leave this check out by --no-preflight"
    )


_CHECK = "check model and base_url in [models.{section}]"
_PARAMETERS = [
    (re.compile("temperature", re.IGNORECASE), 'set temperature = "default" in [models.{section}]'),
    (re.compile(r"\bsystem\b", re.IGNORECASE), "set system_role = false in [models.{section}]"),
    (re.compile(r"max_(completion_)?tokens", re.IGNORECASE), "set max_tokens in [models.{section}]"),
    (
        re.compile("response_format|json_schema|logprobs", re.IGNORECASE),
        "name a model in [models.{section}] whose server has what it refuses here",
    ),
]
"""What to change where a refusal names a parameter."""
