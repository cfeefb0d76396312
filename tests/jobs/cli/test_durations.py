from __future__ import annotations

import pytest

from jobs.cli.durations import clock, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (40, "40 s"),
        (420, "7 min"),
        (3600, "1 h"),
        (11_040, "3 h 4 min"),
        (90_000, "1 d 1 h"),
        (86_460, "1 d"),
        (89, "1 min"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    """A time has its two greatest units."""
    assert duration(seconds) == words


def test_clocks() -> None:
    """Hours stand there once there are some."""
    assert [clock(seconds) for seconds in (7, 61, 7323)] == ["0:07", "1:01", "2:02:03"]
