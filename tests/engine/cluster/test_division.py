"""How a limit is divided, and whose turn it is."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cluster.division import Turns, fair, fair_whole

WANTS = st.dictionaries(st.text(max_size=2), st.one_of(st.floats(0, 100), st.just(inf)), min_size=1, max_size=6)


def test_who_waits_shares_what_the_others_leave() -> None:
    """A small want is met, the rest is for those who want more; what nobody wants is for all."""
    assert fair(100, {"a": inf, "b": 10, "c": inf}) == {"a": 45, "b": 10, "c": 45}
    assert fair(100, {"a": 10, "b": 20}) == {"a": 45, "b": 55}
    assert fair_whole(10, {"a": inf, "b": 1, "c": inf, "d": 2}) == {"b": 1, "d": 2, "a": 3, "c": 4}


@pytest.mark.slow
@given(total=st.integers(0, 50), wants=WANTS)
def test_all_is_divided(total: int, wants: dict[str, float]) -> None:
    """Nobody gets less than nothing, and all parts together are the whole."""
    for parts in (fair(total, wants), fair_whole(total, wants)):
        assert abs(sum(parts.values()) - total) < 1e-6
        assert min(parts.values()) >= 0


def test_turns() -> None:
    """A place is kept for its time, or while there is something to do; then who waited longest has it."""
    turns, names = Turns(10.0), ("a", "b", "c")
    assert turns.taken_by(names, {"b", "c"}, 1, 0.0) == {"b"}
    assert turns.taken_by(names, {"b", "c"}, 1, 9.0) == {"b"}
    assert turns.taken_by(names, {"b", "c"}, 1, 10.0) == {"c"}
    assert turns.taken_by(names, {"a", "b"}, 1, 11.0) == {"a"}
    assert turns.taken_by(names, {"a", "b", "c"}, 1, 21.0) == {"b"}
    assert turns.taken_by(names, set(), 1, 40.0) == {"b"}
    assert turns.taken_by(("a", "c"), set(), 1, 41.0) == {"a"}
    assert turns.taken_by(names, {"c"}, 2, 42.0) == {"a", "c"}
    assert turns.taken_by(names, {"c"}, 3, 43.0) == {"a", "b", "c"}


@pytest.mark.slow
@given(
    steps=st.lists(st.tuples(st.sets(st.sampled_from("abcd")), st.integers(1, 4), st.floats(0, 12)), max_size=30),
)
def test_nobody_waits_for_ever(steps: list[tuple[set[str], int, float]]) -> None:
    """At most so many have a place, all places are taken, and who waits gets one within a turn of each other."""
    turns, now = Turns(10.0), 0.0
    for wanting, places, pause_s in steps:
        now += pause_s
        assert len(turns.taken_by("abcd", wanting, places, now)) == places
    waits = set("abcd")
    for second in range(45):
        waits -= turns.taken_by("abcd", "abcd", 1, now + second)
    assert not waits
