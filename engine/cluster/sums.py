"""Arithmetic on `Sums`."""

from __future__ import annotations

from engine.demands import Sums

__all__ = ["minus", "mixed", "plus", "times"]


def plus(*sums: Sums) -> Sums:
    return Sums(
        requests=sum(each.requests for each in sums),
        characters=sum(each.characters for each in sums),
        output=sum(each.output for each in sums),
        most_output=sum(each.most_output for each in sums),
    )


def minus(one: Sums, other: Sums) -> Sums:
    return plus(one, times(other, -1.0))


def times(sums: Sums, factor: float) -> Sums:
    return Sums(
        requests=factor * sums.requests,
        characters=factor * sums.characters,
        output=factor * sums.output,
        most_output=factor * sums.most_output,
    )


def mixed(first: Sums, last: Sums, part: float) -> Sums:
    """From `first` (part 0) to `last` (part 1), and beyond."""
    return plus(times(first, 1 - part), times(last, part))
