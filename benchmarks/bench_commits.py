"""What does it cost that every answer is on the disk before its slot is free?

The same job with its fsyncs and without them, in turns: all answers synced against a program that writes and never
syncs. Once against an endpoint of no latency, where the job is as fast as it can be, once at a latency of 1 s. And what
it costs on a disk whose every sync takes 20 ms longer, as a shared one's may: in time, and in syncs a second, of which a
shared disk has to serve those of all processes.
"""

from __future__ import annotations

from typing import Any

from processes import Measured, work_of
from tables import Row, figure, options, ratio, show_rows, write

ANSWERS = {"output_tokens_mean": 150, "output_tokens_sigma": 0.25}
LATENCY = {**ANSWERS, "latency_mean_s": 1.0, "latency_sigma": 0.5}
SLOW_S = 0.02
TARGET = 1.05
TARGET_SLOW = 1.1


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
    slow = turns(given.rounds, simulation=LATENCY, requests=given.requests, in_flight=500, sync_s=SLOW_S)
    found["1 s latency, 500 in flight, a sync takes 20 ms more"] = slow
    rows += slow_rows(slow, found["job time, 1 s latency, 500 in flight, s"]["synced"])
    show_rows(f"Durable commits, {given.requests} requests: median [least, greatest] of {given.rounds} rounds", rows)
    write(given.json, {"rows": rows, "found": found})


def turns(rounds: int, **given: Any) -> dict[str, list[Measured]]:
    """With and without, each first in every other round."""
    found: dict[str, list[Measured]] = {"synced": [], "unsynced": []}
    for number in range(rounds):
        for how in sorted(found, reverse=bool(number % 2)):
            found[how].append(work_of("mill", sync=how == "synced", **given))
    return found


def slow_rows(slow: dict[str, list[Measured]], quick: list[Measured]) -> list[Row]:
    """The job's time on the slow disk, and its syncs a second beside those on the quick one."""
    per_s = {
        name: [each.outcome.syncs / each.outcome.wall_s for each in of]
        for name, of in (("slow", slow["synced"]), ("quick", quick))
    }
    return [
        row("job time, 1 s latency, 500 in flight, slow disk, s", slow, TARGET_SLOW),
        Row(
            measure="syncs a second there, beside the quick disk's",
            value=str(figure(per_s["slow"])),
            floor=str(figure(per_s["quick"])),
            ratio=str(ratio(per_s["slow"], per_s["quick"])),
        ),
    ]


def row(measure: str, found: dict[str, list[Measured]], target: float = TARGET) -> Row:
    synced, unsynced = ([each.outcome.wall_s for each in found[how]] for how in ("synced", "unsynced"))
    times = ratio(synced, unsynced)
    return Row(
        measure=measure,
        value=str(figure(synced)),
        floor=str(figure(unsynced)),
        ratio=str(times),
        target=f"≤ {target:g} × the same without fsync",
        met=times.median <= target,
    )


if __name__ == "__main__":
    main()
