from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.requests import ServerLimits, Usage
from jobs.bench.capacity import Load, Loop, Settings, capacity, measured, percentiles
from jobs.bench.loads import Outcome

USAGE = Usage(requests=1, prompt_tokens=300, completion_tokens=100)


def outcomes(ends: Sequence[float], *, latency: float = 1.0, failed: int = 0) -> list[Outcome]:
    answered = [Outcome(due=end - latency, sent=end - latency, ended=end, usage=USAGE) for end in ends]
    return answered + [Outcome(due=0, sent=0, ended=0.1, error="rate_limited", reason="429")] * failed


def load(level: float, per_second: float, latency_s: float, *, loop: Loop = "closed", failed: int = 0) -> Load:
    """A load of so many answers a second, half of a minute long, each `latency_s` late."""
    ends = [latency_s + number / per_second for number in range(int(per_second * 30))]
    return measured(outcomes(ends, latency=latency_s, failed=failed), loop=loop, level=level)


def test_percentiles_are_times_that_were_measured() -> None:
    """By nearest rank: of the seconds 1 to 100 they are the 50th, the 90th and the 99th; of one value it."""
    found = percentiles([float(second) for second in range(100, 0, -1)])
    assert found is not None
    assert (found.p50, found.p90, found.p99) == (50, 90, 99)
    one = percentiles([3.5])
    assert one is not None
    assert (one.p50, one.p90, one.p99) == (3.5, 3.5, 3.5)
    assert percentiles([]) is None


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=200))
def test_percentiles_rise(values: list[float]) -> None:
    """Whatever was measured, they are in order and among the values."""
    found = percentiles(values)
    assert found is not None
    assert found.p50 <= found.p90 <= found.p99 <= max(values) + 1e-6
    assert all(any(math.isclose(each, value, abs_tol=1e-6) for value in values) for each in (found.p50, found.p99))


def test_start_and_stragglers_do_not_weigh() -> None:
    """Twenty in flight that are answered in waves of a second are twenty a second, with a straggler and without."""
    waves = [float(wave) for wave in range(1, 7) for _ in range(20)]
    assert measured(outcomes(waves), loop="closed", level=20).answers_per_second == 20
    assert measured(outcomes([*waves, 60.0]), loop="closed", level=20).answers_per_second == pytest.approx(20, rel=0.02)


@pytest.mark.parametrize("requests_each", [4, 5, 8])
@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.6])
def test_answers_a_second_are_those_of_full_load(requests_each: int, sigma: float) -> None:
    """Whatever the latencies and the number of requests, clients of mean latency 1 s get an answer a second each."""
    luck = random.Random(1)
    free, ends = [0.0] * 64, []
    for _ in range(64 * requests_each):
        end = heapq.heappop(free) + math.exp(luck.gauss(-sigma * sigma / 2, sigma))
        heapq.heappush(free, end)
        ends.append(end)
    assert measured(outcomes(sorted(ends)), loop="closed", level=64).answers_per_second == pytest.approx(64, rel=0.08)


@pytest.mark.parametrize(("ends", "per_second"), [([2.0], 1.0), ([2.0, 2.0], 2.0), ([2.0, 2.5], 2.0)])
def test_few_answers_have_a_rate(ends: list[float], per_second: float) -> None:
    """One answer, or answers at one instant, are counted over the whole time."""
    assert measured(outcomes(ends), loop="closed", level=1).answers_per_second == per_second


def test_tokens_and_errors_are_counted() -> None:
    """Tokens are those of answers, a second; errors are by kind and in no percentile."""
    found = measured(outcomes([1 + number / 10 for number in range(100)], failed=5), loop="open", level=10)
    assert (found.requests, found.answers, found.errors) == (105, 100, {"rate_limited": 5})
    assert found.answers_per_second == pytest.approx(10)
    assert found.input_tokens_per_second == pytest.approx(3000)
    assert found.output_tokens_per_second == pytest.approx(1000)
    assert found.in_flight == pytest.approx(10)
    assert found.latency is not None
    assert found.latency.p99 == 1.0
    assert found.first_token is None


def test_times_count_from_when_a_request_was_due() -> None:
    """A request that was sent two seconds late has them in its latency and in the time to its first token."""
    late = Outcome(due=1.0, sent=3.0, ended=4.0, usage=USAGE, first_token_s=0.25)
    found = measured([late], loop="open", level=1)
    assert found.latency is not None
    assert found.first_token is not None
    assert (found.latency.p50, found.first_token.p50, found.late_p99_s) == (3.0, 2.25, 2.0)


def test_the_knee_and_saturation() -> None:
    """The knee has the most answers for its latency; saturation is the least load with nearly all that any gave."""
    loads = [load(1, 10, 0.1), load(2, 19, 0.105), load(4, 36, 0.11), load(8, 48, 0.17), load(16, 49, 0.33)]
    found = capacity(loads)
    assert found is not None
    assert (found.knee, found.saturation, found.more) == (4, 8, False)
    assert found.settings == Settings(max_concurrency=8)


def test_growth_at_the_highest_load_is_told() -> None:
    """Where the last load is the best by far, a higher one may be better; where there is one alone nothing is known."""
    grown, alone = capacity([load(1, 10, 0.1), load(2, 20, 0.1)]), capacity([load(1, 10, 0.1)])
    assert grown is not None
    assert alone is not None
    assert (grown.more, alone.more) == (True, False)


def test_a_load_that_is_refused_is_not_recommended() -> None:
    """More answers at the price of refusals do not count; where every load has them, nothing follows."""
    found = capacity([load(4, 20, 0.2), load(8, 30, 0.2, failed=300)])
    assert found is not None
    assert (found.knee, found.saturation) == (4, 4)
    assert capacity([load(4, 20, 0.2, failed=100), load(8, 30, 0.2, failed=300)]) is None


def test_a_rate_becomes_a_concurrency() -> None:
    """Saturation is the greatest rate that is kept up with; the setting is what is in flight there, by Little's law."""
    found = capacity([load(10, 10, 0.5, loop="open"), load(20, 20, 0.62, loop="open"), load(40, 24, 9.0, loop="open")])
    assert found is not None
    assert (found.saturation, found.settings, found.more) == (20, Settings(max_concurrency=13), False)


def test_rates_that_are_all_too_high_recommend_nothing() -> None:
    """Where the endpoint kept up with no rate, what was in flight was a queue, from which no setting follows."""
    found = capacity([load(40, 20, 9.0, loop="open"), load(80, 20, 12.0, loop="open")])
    assert found is not None
    assert (found.saturation, found.settings) == (None, None)


def test_limits_of_the_server_are_recommended() -> None:
    """What its headers told of limits a minute stands in the settings."""
    told = [
        Outcome(due=0, sent=0, ended=number + 1, usage=USAGE, limits=ServerLimits(limit_requests=600))
        for number in range(4)
    ]
    found = capacity([measured(told, loop="closed", level=1)])
    assert found is not None
    assert found.settings == Settings(max_concurrency=1, requests_per_minute=600)


def test_nothing_follows_from_nothing() -> None:
    """Without an answer there is no knee and no setting."""
    assert capacity([]) is None
    assert capacity([measured(outcomes([], failed=3), loop="closed", level=1)]) is None
