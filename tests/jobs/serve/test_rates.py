from __future__ import annotations

from datetime import UTC, datetime

from jobs.serve.log_tail import Said
from jobs.serve.rates import Rates
from jobs.serve.run_now import Point


def sealed(at: float, inputs: int, *, job: str = "ask", found: bool = False) -> Said:
    return Said(
        time=datetime.fromtimestamp(at, UTC), event="gristmill.shard.sealed", job=job, inputs=inputs, found=found
    )


def test_a_rate_is_what_was_finished_between_two_looks() -> None:
    """Each look gives a point of the time since the last; the rate of now is over half a minute."""
    rates = Rates()
    assert rates.look(100, {"ask": 10}, []) == []
    assert rates.now("ask") == 0
    assert rates.look(110, {"ask": 30, "answer": 0}, []) == [Point(at=110, seconds=10, rates={"ask": 2})]
    assert rates.now("ask") == 2
    rates.look(140, {"ask": 30}, [])
    rates.look(150, {"ask": 50}, [])
    assert rates.now("ask") == 20 / 40
    assert rates.look(150, {"ask": 51}, []) == []


def test_what_was_before_the_first_look_is_told_by_the_log() -> None:
    """Shards that were sealed in this run or an earlier one are points; those that were only found are none."""
    points = Rates().look(
        500, {"ask": 40}, [sealed(100, 10), sealed(101, 4), sealed(103, 8), sealed(102, 99, found=True)]
    )
    assert points == [Point(at=102, seconds=2, rates={"ask": 7}), Point(at=104, seconds=2, rates={"ask": 4})]


def test_a_long_run_has_a_bounded_number_of_points() -> None:
    """A plot of days is no longer than one of minutes."""
    said = [sealed(3600.0 * hour, 100) for hour in range(1000)]
    points = Rates().look(1e9, {}, said)
    assert len(points) <= 122
    assert sum(point.rates.get("ask", 0) * point.seconds for point in points) == 100_000
