"""Do more workers do more: answers and pages a second, CPU a request, a shared limit, and the first request?

Weak scaling: each worker has the same number of requests in flight, at an endpoint that answers after a second, so N
workers should answer N times as much as one, on the same cores. One process with as many in flight is the floor of CPU.
Pages: papers are parsed with one process for each worker. The first request is that of `gristmill run`, imports included;
the head sends it. `bench_cluster_ray.py` does the same on Ray.
"""

from __future__ import annotations

import json
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import msgspec
from crew import Crew, Done
from papers import cut_papers
from processes import Counted, counted_by, looking, said_by, simulated, watched
from tables import Row, figure, options, ratio, show_rows, write

ENDPOINT = {"latency_mean_s": 1.0, "latency_sigma": 0.0, "output_tokens_mean": 150, "output_tokens_sigma": 0.25}
WORKERS = (1, 2, 4, 8)
SCALING, CPU, PAGES, FIRST = {"processes": 0.95, "ray": 0.9}, 1.3, 1.8, 1.5
USED, REJECTED, BUCKET_S = 0.98, 0.001, 10


def main() -> None:
    given = options(__doc__, rounds=3, each=32, turns=30, per_minute=12_000, limit_s=30, papers=128)
    compare("processes", given, whole_runs(given.rounds, given.papers))


def compare(engine: str, given: Namespace, of_runs: Sequence[Row]) -> None:
    """Show what workers of `engine` do, and what was seen of whole runs with them."""
    scaled, alone = scaling(engine, given.rounds, given.each, given.turns)
    rows = [
        *(scaling_row(engine, workers, scaled) for workers in WORKERS[1:]),
        cpu_row(scaled, alone),
        limit_row(engine, given.per_minute, given.limit_s),
        *of_runs,
    ]
    show_rows(f"Workers of {engine}", rows)
    found = {"scaled": {str(workers): of for workers, of in scaled.items()}, "alone": alone}
    write(given.json, {"rows": rows, **found})


def done_by(crew: Crew, simulation: dict[str, object]) -> tuple[Done, Counted]:
    with simulated(simulation) as base_url, tempfile.TemporaryDirectory() as folder:
        told = msgspec.structs.replace(crew, base_url=base_url, folder=folder)
        said = said_by("crew", msgspec.json.encode(told).decode(), core=None)
        done = msgspec.json.decode(said, type=Done)
        if done.answers != crew.requests:
            raise SystemExit(f"{done.answers} answers to {crew.requests} requests")
        return done, counted_by(base_url)


def scaling(engine: str, rounds: int, each: int, turns: int) -> tuple[dict[int, list[Done]], list[Done]]:
    """The work of each number of workers, and of one process with as many in flight as the most of them."""

    def work(workers: int, times: int) -> Done:
        requests = times * each * turns
        crew = Crew(
            base_url="",
            folder="",
            requests=requests,
            shard=each,
            workers=workers,
            engine=engine,
            in_flight=times * each,
        )
        return done_by(crew, ENDPOINT)[0]

    scaled: dict[int, list[Done]] = {workers: [] for workers in WORKERS}
    alone: list[Done] = []
    for _ in range(rounds):
        for workers, of in scaled.items():
            of.append(work(workers, workers))
        alone.append(work(0, WORKERS[-1]))
    return scaled, alone


def a_second(done: Done) -> float:
    return done.answers / done.seconds


def scaling_row(engine: str, workers: int, scaled: dict[int, list[Done]]) -> Row:
    found = ratio(list(map(a_second, scaled[workers])), [workers * a_second(one) for one in scaled[1]])
    return Row(
        measure=f"answers a second of {workers} workers, to {workers} × one worker",
        value=str(figure(list(map(a_second, scaled[workers])))),
        ratio=str(found),
        target=f"≥ {SCALING[engine]}",
        met=found.median >= SCALING[engine],
    )


def cpu_row(scaled: dict[int, list[Done]], alone: list[Done]) -> Row:
    many, one = ([1000 * done.cpu_s / done.answers for done in of] for of in (scaled[WORKERS[-1]], alone))
    found = ratio(many, one)
    return Row(
        measure=f"CPU a request of {WORKERS[-1]} workers and their head, to one process with as many in flight, ms",
        value=str(figure(many)),
        floor=str(figure(one)),
        ratio=str(found),
        target=f"≤ {CPU}",
        met=found.median <= CPU,
    )


def limit_row(engine: str, per_minute: int, seconds: float) -> Row:
    """Four workers at a limit on requests that is configured."""
    requests = int(per_minute / 60 * (seconds + BUCKET_S))
    crew = Crew(
        base_url="", folder="", requests=requests, shard=200, workers=4, engine=engine, requests_per_minute=per_minute
    )
    done, counted = done_by(crew, {**ENDPOINT, "requests_per_minute": per_minute, "bucket_s": BUCKET_S})
    sent = counted.requests["chat"]
    used = (sent - counted.rejected) / (per_minute / 60 * (BUCKET_S + done.seconds - ENDPOINT["latency_mean_s"]))
    return Row(
        measure=f"a limit of {per_minute} requests a minute, 4 workers",
        value=f"{used:.1%} used, {counted.rejected / sent:.2%} rejected",
        target=f"≥ {USED:.0%} used, ≤ {REJECTED:.1%} rejected",
        met=used >= USED and counted.rejected / sent <= REJECTED,
    )


def whole_runs(rounds: int, papers: int) -> list[Row]:
    pages: dict[int, list[float]] = {1: [], 2: []}
    first: dict[int, list[float]] = {0: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        cut_papers(Path(name), papers, 8)
        for _ in range(rounds):
            for workers, rates in pages.items():
                rates.append(shards_a_second(Path(name), workers))
            for workers, times in first.items():
                times.append(first_request_s(Path(name), workers))
    grown, later = ratio(pages[2], pages[1]), ratio(first[2], first[0])
    return [
        Row(
            measure="shards of papers parsed a second, 2 workers to 1, each with one process that parses",
            value=str(figure(pages[2])),
            floor=str(figure(pages[1])),
            ratio=str(grown),
            target=f"≥ {PAGES}",
            met=grown.median >= PAGES,
        ),
        Row(
            measure="start of `gristmill run` to the first request, 2 workers to one process, s",
            value=str(figure(first[2])),
            floor=str(figure(first[0])),
            ratio=str(later),
            target=f"≤ {FIRST}",
            met=later.median <= FIRST,
        ),
    ]


def shards_a_second(papers: Path, workers: int) -> float:
    """Over the second half of the shards of papers: during the first, the head parses too and workers start."""
    with simulated(ENDPOINT) as base_url, tempfile.TemporaryDirectory() as out:
        run = Path(out) / "run"
        settings = (f"cluster.workers={workers}", "parse.workers=1", "parse.papers_per_shard=2")
        watched(papers, run, base_url, "--until=parse", *(f"--set={setting}" for setting in settings))
        events = [json.loads(line) for line in (run / "run.log").read_text("utf-8").splitlines()]
    at = [e["monotonic_s"] for e in events if e["event"] == "gristmill.shard.sealed" and e["job"] == "parse"]
    half = at[len(at) // 2 :]
    return (len(half) - 1) / (half[-1] - half[0])


def first_request_s(papers: Path, workers: int, *settings: str) -> float:
    """As the endpoint sees it."""
    with simulated(ENDPOINT) as base_url, tempfile.TemporaryDirectory() as out, looking(base_url) as seen:
        began = time.monotonic()
        told = [f"--set={setting}" for setting in (f"cluster.workers={workers}", *settings)]
        watched(papers, Path(out) / "run", base_url, "--until=ask", "--no-preflight", *told)
    return seen[0] - began


if __name__ == "__main__":
    main()
