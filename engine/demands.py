"""What a process that shares limits and a budget with others needs, and what it is granted.

These are messages between the head of a run and its workers: plain values, and none of them is infinite.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.requests import Usage

__all__ = ["Allowance", "BudgetDemand", "Demand", "Grant", "LimitDemand", "Observed", "Share", "Sums"]


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """All requests that were started so far: how many, and what they were estimated at, with prompts in characters."""

    requests: float = 0.0
    characters: float = 0.0
    output: float = 0.0
    most_output: float = 0.0


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What a server said to remain when it admitted the request that was sent ``age_s`` seconds ago; None is not stated.

    ``full_*`` is the size of its bucket by the same reply. ``near_full`` says that its bucket of tokens may have been full.
    """

    age_s: float
    requests: float | None = None
    tokens: float | None = None
    full_requests: float | None = None
    full_tokens: float | None = None
    near_full: bool = False


class LimitDemand(msgspec.Struct, frozen=True, kw_only=True):
    """What one process states of one limit. The first three are configured, ``stated_*`` is what the server states per
    minute; None is no limit.

    ``waiting`` requests wait for their rate, and ``crowded`` ones for others in flight to end. ``rejected`` are all so far.
    Nothing is sent for ``paused_s`` seconds because the server asked for that. ``next_tokens`` is charged for the first
    request that waits.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_concurrency: int | None = None
    stated_requests: float | None = None
    stated_tokens: float | None = None
    waiting: int = 0
    crowded: int = 0
    in_flight: int = 0
    rejected: int = 0
    paused_s: float = 0.0
    next_tokens: float = 0.0
    sums: Sums = Sums()
    tokens_per_character: float = 0.25
    observed: Observed | None = None


class BudgetDemand(msgspec.Struct, frozen=True, kw_only=True):
    """What one process states of the budget, in dollars and tokens: what it has paid since it began, what it has reserved,
    what it was allowed, what those who wait may cost in all, and the first of them (None: nobody waits).

    ``active`` says that something reserved is under way, which may turn out cheaper.
    """

    spent: Usage = Usage()
    reserved: Usage = Usage()
    allowed_usd: float = 0.0
    allowed_tokens: int = 0
    waiting: Usage = Usage()
    first: Usage | None = None
    active: bool = False


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What one process needs. ``number`` counts its demands; ``applied`` is the last grant that it follows, 0 for none."""

    number: int
    applied: int = 0
    limits: Mapping[str, LimitDemand] = {}
    budget: BudgetDemand | None = None


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """One process' share of one limit. None is no limit: then it adapts by itself, and as soon as the server states one it
    takes the part of one of ``workers`` processes, until it has a share of that.

    ``saved`` says that a second's worth is there at once. ``tariff`` is what the server counts, as factors of the likely and
    of the greatest tokens of a request, each None while it is not known; None as a whole where the server reports nothing.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_concurrency: int | None = None
    workers: int = 1
    saved: bool = False
    tariff: tuple[float | None, float | None] | None = None


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What one process may pay since it began, what is reserved included. ``exhausted`` ends that: it says why, in a line."""

    usd: float = 0.0
    tokens: int = 0
    exhausted: str = ""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to the demand of number ``answers``. Its shares hold for `LEASE_S` from when that was sent."""

    number: int
    answers: int
    lease_s: float
    limits: Mapping[str, Share] = {}
    allowance: Allowance | None = None
