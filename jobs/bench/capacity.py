"""What an endpoint can do: the figures of each load, the knee among them, and the settings that follow.

*Answers a second* is half of the answers over the time from each answer to the one that many later, on average without
the shortest and the longest tenth. So neither the start, when nothing was answered yet, nor the last stragglers weigh
much. In answers divided by seconds they do: it says a third too little of 64 in flight that send four requests each,
where latencies are lognormal with a sigma of 0.5.

*Percentiles* are nearest-rank: latencies that were measured, of answers alone. At a rate they count from the instant at
which a request was due.

The *knee* is where Kleinrock's power, answers a second over mean latency, is greatest: more load buys waiting, less
leaves the endpoint idle ("Power and deterministic rules of thumb for probabilistic problems in computer
communications", 1979). A batch minds no waiting: its setting is *saturation*, the least number in flight that gives
95 % of the most answers a second of any, or the greatest rate at which 95 % as many answers come as requests are due.
Loads in which more than one request in a hundred failed count for both only where there are no others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from engine.requests import ServerLimits
from engine.shards import total
from jobs.bench.loads import Outcome

__all__ = ["Capacity", "Load", "Loop", "Percentiles", "Settings", "capacity", "measured", "percentiles"]

Loop = Literal["closed", "open"]
_ENOUGH = 0.95
_FAILED = 0.01


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """The times in seconds within which half, 90 % and 99 % were."""

    p50: float
    p90: float
    p99: float


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one load. ``level`` is its requests in flight (closed loop) or a second (open loop).

    Of ``requests`` that were sent ``answers`` came; tokens a second are theirs. ``in_flight`` is how many requests were
    on average, by Little's law. ``first_token`` is None where nothing was streamed. ``late_p99_s`` says how late the
    client itself sent: above a few hundredths, this machine is what was measured. ``errors`` are by kind; status 429 is
    "rate_limited". The limits a minute are those that the server's headers told.
    """

    loop: Loop
    level: float
    requests: int
    answers: int
    seconds: float
    answers_per_second: float
    input_tokens_per_second: float
    output_tokens_per_second: float
    in_flight: float
    latency: Percentiles | None
    mean_latency_s: float | None
    first_token: Percentiles | None
    late_p99_s: float
    errors: dict[str, int]
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to put under the model in the configuration."""

    max_concurrency: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """The levels of the knee and of saturation, and the settings; the last two are None where every rate was too high.

    ``more`` says that the highest load was not too much: higher ones may give more.
    """

    knee: float
    saturation: float | None
    more: bool
    settings: Settings | None


def measured(outcomes: Sequence[Outcome], *, loop: Loop, level: float) -> Load:
    """The figures of one load, from at least one outcome."""
    answered = [outcome for outcome in outcomes if not outcome.error]
    latencies = [outcome.ended - outcome.due for outcome in answered]
    began, ended = min(each.sent for each in outcomes), max(each.ended for each in outcomes)
    per_second = _slope(sorted(outcome.ended for outcome in answered), ended - began)
    paid = total(outcome.usage for outcome in answered)
    mean_s = sum(latencies) / len(latencies) if latencies else None
    firsts = [each.sent - each.due + each.first_token_s for each in answered if each.first_token_s is not None]
    told = next((each.limits for each in reversed(outcomes) if each.limits), ServerLimits())
    lateness = percentiles([outcome.sent - outcome.due for outcome in outcomes])
    return Load(
        loop=loop,
        level=level,
        requests=len(outcomes),
        answers=len(answered),
        seconds=round(ended - began, 3),
        answers_per_second=round(per_second, 3),
        input_tokens_per_second=round(per_second * paid.prompt_tokens / max(1, len(answered)), 1),
        output_tokens_per_second=round(per_second * paid.completion_tokens / max(1, len(answered)), 1),
        in_flight=round(per_second * (mean_s or 0.0), 2),
        latency=percentiles(latencies),
        mean_latency_s=None if mean_s is None else round(mean_s, 6),
        first_token=percentiles(firsts),
        late_p99_s=lateness.p99 if lateness else 0.0,
        errors=dict(Counter(outcome.error for outcome in outcomes if outcome.error).most_common()),
        requests_per_minute=told.limit_requests,
        tokens_per_minute=told.limit_tokens,
    )


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """The nearest-rank percentiles of `values`; None where there are none."""
    import numpy as np

    if not values:
        return None
    p50, p90, p99 = (round(float(at), 6) for at in np.percentile(values, [50, 90, 99], method="inverted_cdf"))
    return Percentiles(p50=p50, p90=p90, p99=p99)


def capacity(loads: Sequence[Load]) -> Capacity | None:
    """What follows from `loads`, which rise; None where nothing was answered."""
    answered = [load for load in loads if load.answers]
    usable = [load for load in answered if load.requests - load.answers <= _FAILED * load.requests] or answered
    if not usable:
        return None
    saturated = _saturated(usable)
    return Capacity(
        knee=max(usable, key=_power).level,
        saturation=saturated.level if saturated else None,
        more=len(loads) > 1 and saturated is loads[-1],
        settings=_settings(saturated) if saturated else None,
    )


def _saturated(loads: Sequence[Load]) -> Load | None:
    if loads[0].loop == "open":
        return next((load for load in reversed(loads) if load.answers_per_second >= _ENOUGH * load.level), None)
    enough = _ENOUGH * max(load.answers_per_second for load in loads)
    return next(load for load in loads if load.answers_per_second >= enough)


def _settings(load: Load) -> Settings:
    return Settings(
        max_concurrency=math.ceil(load.level if load.loop == "closed" else max(1.0, load.in_flight)),
        requests_per_minute=load.requests_per_minute,
        tokens_per_minute=load.tokens_per_minute,
    )


def _power(load: Load) -> float:
    return load.answers_per_second / max(load.mean_latency_s or 0.0, 1e-6)


def _slope(ends: Sequence[float], seconds: float) -> float:
    half = len(ends) // 2
    apart = sorted(later - earlier for earlier, later in zip(ends, ends[half:], strict=False))
    cut = len(apart) // 10
    middle = sum(apart[cut : len(apart) - cut]) / max(1, len(apart) - 2 * cut)
    return half / middle if half and middle else len(ends) / max(seconds, 1e-6)
