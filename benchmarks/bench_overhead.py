"""What does everything around a request cost: limit, retries, decoding, validation, a durable commit?

CPU time a request against an endpoint that answers at once (canned.py), and the time of a whole job at a latency of 1 s
with 500 in flight, each beside the bare aiohttp loop; and whether memory grows with the job.
"""

from __future__ import annotations

from typing import Any

from processes import Measured, work_of
from tables import Row, figure, options, ratio, show_rows, write

ANSWERS = {"output_tokens_mean": 150, "output_tokens_sigma": 0.25}
LATENCY = {**ANSWERS, "latency_mean_s": 1.0, "latency_sigma": 0.5}
TARGET_CPU, TARGET_TIME, TARGET_RSS_MB = 2.0, 1.03, 100.0
LONGER = 4


def main() -> None:
    given = options(__doc__, requests=3000, cpu_rounds=15, job_rounds=3)
    cpu = rounds(given.cpu_rounds, simulation=None, requests=given.requests, in_flight=100)
    time = rounds(given.job_rounds, simulation=LATENCY, requests=given.requests, in_flight=500)
    long = work_of("mill", simulation=None, requests=LONGER * given.requests, in_flight=100)
    complain([*cpu["floor"], *cpu["mill"], *time["floor"], *time["mill"], long])
    cpu_ms = {client: [each.cpu_ms for each in found] for client, found in cpu.items()}
    wall_s = {client: [each.outcome.wall_s for each in found] for client, found in time.items()}
    job_cpu_ms = {client: [each.cpu_ms for each in found] for client, found in time.items()}
    rss_mb = {client: [each.outcome.peak_rss_mb for each in found] for client, found in time.items()}
    times_cpu, times_time = ratio(cpu_ms["mill"], cpu_ms["floor"]), ratio(wall_s["mill"], wall_s["floor"])
    rows = [
        Row(
            measure="CPU ms a request, no latency, 100 in flight",
            value=str(figure(cpu_ms["mill"])),
            floor=str(figure(cpu_ms["floor"])),
            ratio=str(times_cpu),
            target=f"≤ {TARGET_CPU:g} × floor",
            met=times_cpu.median <= TARGET_CPU,
        ),
        Row(
            measure="job time at 1 s latency, 500 in flight, s",
            value=str(figure(wall_s["mill"])),
            floor=str(figure(wall_s["floor"])),
            ratio=str(times_time),
            target=f"≤ {TARGET_TIME:g} × floor",
            met=times_time.median <= TARGET_TIME,
        ),
        Row(
            measure="CPU ms a request in that job",
            value=str(figure(job_cpu_ms["mill"])),
            floor=str(figure(job_cpu_ms["floor"])),
            ratio=str(ratio(job_cpu_ms["mill"], job_cpu_ms["floor"])),
        ),
        Row(
            measure=f"peak RSS in that job, and at no latency with {LONGER} × the requests, MB",
            value=f"{figure(rss_mb['mill'])}, {long.outcome.peak_rss_mb:.3g}",
            floor=str(figure(rss_mb["floor"])),
            target=f"< {TARGET_RSS_MB:g}",
            met=max(*rss_mb["mill"], long.outcome.peak_rss_mb) < TARGET_RSS_MB,
        ),
    ]
    show_rows(f"Overhead, {given.requests} requests: median [least, greatest] of the rounds", rows)
    write(given.json, {"rows": rows, "cpu": cpu, "job": time, "longer": long})


def rounds(count: int, **given: Any) -> dict[str, list[Measured]]:
    """Floor and ours in turns, each first in every other round."""
    found: dict[str, list[Measured]] = {"floor": [], "mill": []}
    for number in range(count):
        for client in sorted(found, reverse=bool(number % 2)):
            found[client].append(work_of(client, **given))
    return found


def complain(measured: list[Measured]) -> None:
    """A figure from a job that did not do its work is none."""
    for each in measured:
        if each.outcome.bad or each.outcome.lost:
            raise SystemExit(f"a job did not do its work: {each}")


if __name__ == "__main__":
    main()
