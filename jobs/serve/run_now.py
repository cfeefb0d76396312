"""How a run stands at one instant, as the page shows it and as it is sent to it."""

from __future__ import annotations

import msgspec

__all__ = ["Happening", "JobNow", "LimitNow", "Point", "RunNow"]


class JobNow(msgspec.Struct, frozen=True, kw_only=True):
    """One job. ``total`` is None while nothing tells it, and ``exact`` says that it is counted and not estimated.

    ``state`` is "waits", "works", "done" or "stopped"; ``waits_for`` says why it pauses now. ``in_flight`` is None where
    only the working process knows it.
    """

    job: str
    state: str
    done: int
    total: int | None
    exact: bool
    per_second: float
    left_s: float | None
    in_flight: int | None
    waits_for: str
    failed: dict[str, int]
    rows: int
    requests: int
    tokens: int
    usd: float


class LimitNow(msgspec.Struct, frozen=True, kw_only=True):
    """The use of one endpoint's limit: requests in flight and waiting, and what was used in the last minute.

    Limits per minute are 0 where none is known.
    """

    model: str
    address: str
    in_flight: int
    window: int
    waiting: int
    paused_s: float
    requests: int
    requests_per_minute: float
    tokens: int
    tokens_per_minute: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs that each job finished a second, on average over the ``seconds`` before ``at`` (since 1970)."""

    at: float
    seconds: float
    rates: dict[str, float]


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """What the log said at ``at`` (seconds since 1970): a wait, a failure or a note of a job."""

    at: float
    job: str
    what: str
    text: str


class RunNow(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run. ``state`` is "works", "done" or "stopped". ``limits`` is None where only the process knows them.

    Dollars and tokens are all that the run has cost; a budget of None is no cap. ``ended`` says that the server ends.
    """

    at: float
    state: str
    jobs: list[JobNow]
    left_s: float | None
    usd: float
    usd_budget: float | None
    tokens: int
    tokens_budget: int | None
    in_flight: int | None = None
    limits: list[LimitNow] | None = None
    ended: bool = False
