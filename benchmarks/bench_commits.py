"""What does it cost that every answer is on the disk before its slot is free?

The same job with its fsyncs and without them, in turns: all answers synced against a program that writes and never
syncs. Once against an endpoint of no latency, where the job is as fast as it can be, once at a latency of 1 s.
"""

from __future__ import annotations

from typing import Any

from processes import Measured, work_of
from tables import Row, figure, options, ratio, show_rows, write

ANSWERS = {"output_tokens_mean": 150, "output_tokens_sigma": 0.25}
LATENCY = {**ANSWERS, "latency_mean_s": 1.0, "latency_sigma": 0.5}
TARGET = 1.05


def main() -> None:
    given = options(__doc__, requests=3000, rounds=5)
    found = {
        "job time, no latency, 100 in flight, s": turns(
            given.rounds, simulation=ANSWERS, requests=given.requests, in_flight=100
        ),
        "job time, 1 s latency, 500 in flight, s": turns(
            given.rounds, simulation=LATENCY, requests=given.requests, in_flight=500
        ),
    }
    rows = [row(measure, of) for measure, of in found.items()]
    show_rows(f"Durable commits, {given.requests} requests: median [least, greatest] of {given.rounds} rounds", rows)
    write(given.json, {"rows": rows, "found": found})


def turns(rounds: int, **given: Any) -> dict[str, list[Measured]]:
    """With and without, each first in every other round."""
    found: dict[str, list[Measured]] = {"synced": [], "unsynced": []}
    for number in range(rounds):
        for how in sorted(found, reverse=bool(number % 2)):
            found[how].append(work_of("mill", sync=how == "synced", **given))
    return found


def row(measure: str, found: dict[str, list[Measured]]) -> Row:
    synced, unsynced = ([each.outcome.wall_s for each in found[how]] for how in ("synced", "unsynced"))
    times = ratio(synced, unsynced)
    return Row(
        measure=measure,
        value=str(figure(synced)),
        floor=str(figure(unsynced)),
        ratio=str(times),
        target=f"≤ {TARGET:g} × the same without fsync",
        met=times.median <= TARGET,
    )


if __name__ == "__main__":
    main()
