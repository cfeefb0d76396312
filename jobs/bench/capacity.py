"""The capacity of an endpoint: the figures of each load, the knee among them, and the settings that follow.

*Answers per second* are n/2 divided by the trimmed mean gap between answers i and i + n/2 (without the shortest and the
longest tenth). So the start, when nothing is answered yet, and the last slow answers have little weight. In the plain
quotient of answers and seconds they have much: it is a third too low for 64 in flight that send four requests each, if
latencies are lognormal with a sigma of 0.5.

*Percentiles* are nearest-rank, over the latencies of answers only. In an open loop a latency starts at the time at
which the request was due.

The *knee* is the load with the greatest power (Kleinrock: answers per second divided by mean latency): more load adds
waiting, less leaves the endpoint idle ("Power and deterministic rules of thumb for probabilistic problems in computer
communications", 1979). A batch does not mind waiting: its setting is *saturation*, the least number in flight with 95 %
of the highest answers per second, or the highest rate at which answers arrive at 95 % of the rate of requests. Loads in
which more than 1 % of the requests failed are used only if there are no others.
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
    """Times in seconds: the 50th, 90th and 99th percentile."""

    p50: float
    p90: float
    p99: float


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one load. ``level`` is its requests in flight (closed loop) or per second (open loop).

    ``requests`` were sent and ``answers`` came back; tokens per second count the answers. ``in_flight`` is the mean
    number of requests in flight, by Little's law. ``first_token`` is None if nothing was streamed. ``late_p99_s`` is
    how late this client sent its requests: above a few hundredths of a second, the client limits the result. ``errors``
    are counted by kind; status 429 is "rate_limited". The limits per minute are from the server's headers.
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

    @property
    def lost(self) -> bool:
        """Whether more than one in a hundred of its requests failed, so that nothing follows from it."""
        return self.requests - self.answers > _FAILED * self.requests


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The settings to put under the model in the configuration."""

    max_concurrency: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """The levels of the knee and of saturation, and the settings; the last two are None if every rate was too high.

    ``more`` means that the endpoint handled the highest load, so higher loads may give more.
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
    stated = next((each.limits for each in reversed(outcomes) if each.limits), ServerLimits())
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
        requests_per_minute=stated.limit_requests,
        tokens_per_minute=stated.limit_tokens,
    )


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """The nearest-rank percentiles of `values`; None where there are none."""
    import numpy as np

    if not values:
        return None
    p50, p90, p99 = (round(float(at), 6) for at in np.percentile(values, [50, 90, 99], method="inverted_cdf"))
    return Percentiles(p50=p50, p90=p90, p99=p99)


def capacity(loads: Sequence[Load]) -> Capacity | None:
    """The capacity that `loads`, in rising order, show; None if errors leave none of them to conclude from."""
    usable = [load for load in loads if load.answers and not load.lost]
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
