"""How soon does the first request leave, and do the jobs overlap: parse, ask, answer, index, augment?

`gristmill run` from its start, imports included, on a corpus of several shards, with no cap on questions (a cap has to
know all chunks first). The first request is the trial of a model; the first question waits for its answer, which takes
the endpoint 0.75 s on average. The first shards are small, so neither must wait for the corpus: a small one and a large
one are measured. Overlap is the time in which each job was at work, added up, over the time from the first to the last.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from papers import cut_papers, sources
from plots import Bar, bars
from processes import Busy, Watched, looking, simulated, watched
from tables import Row, figure, options, show_rows, skip, write

SIMULATION = {
    "latency_mean_s": 0.75,
    "latency_sigma": 0.5,
    "embedding_latency_mean_s": 0.2,
    "output_tokens_mean": 150,
    "output_tokens_sigma": 0.25,
}
JOBS = ("parse", "ask", "answer", "index", "probe", "curate", "augment")
FIRST_TARGET_S, GROWTH_S = 1.5, 1.0


def main() -> None:
    given = options(__doc__, few=20, many=200, pages=8, rounds=3)
    if not sources():
        skip(given.json, "there are no papers to cut")
    found: dict[int, list[Watched]] = {given.few: [], given.many: []}
    first_s: dict[int, list[float]] = {given.few: [], given.many: []}
    with tempfile.TemporaryDirectory() as name:
        for papers in found:
            (folder := Path(name) / str(papers)).mkdir()
            cut_papers(folder, papers, given.pages)
        for number in range(given.rounds):
            for papers in sorted(found, reverse=bool(number % 2)):
                run, seconds = one(Path(name) / str(papers))
                found[papers].append(run)
                first_s[papers].append(seconds)
    rows = [first_row(first_s, given.few, given.many), *question_rows(found, given.few, given.many)]
    show_rows(f"A run of {given.few} and of {given.many} papers", rows)
    plot = bars(
        f"{given.many} papers: when each job is at work",
        [
            Bar(label=job, start=busy.first_s, end=busy.last_s, note=f"{busy.seconds:.1f} s at work")
            for job, busy in in_order(found[given.many][0])
        ],
        unit="seconds from the start of the process",
    )
    write(
        given.json,
        {
            "rows": rows,
            "plots": {"pipeline": plot},
            "found": {str(key): of for key, of in found.items()},
            "first_s": {str(key): of for key, of in first_s.items()},
        },
    )


def one(papers: Path) -> tuple[Watched, float]:
    """A run, and the seconds from its start to the first request, as the endpoint sees it."""
    with simulated(SIMULATION) as base_url, tempfile.TemporaryDirectory() as out, looking(base_url) as seen:
        began = time.monotonic()
        run = watched(papers, Path(out) / "run", base_url, "--until=augment")
    if not run.requests.get("answer"):
        raise SystemExit(f"a run asked for no answer: {run}")
    return run, seen[0] - began


def in_order(run: Watched) -> list[tuple[str, Busy]]:
    return [(job, run.busy[job]) for job in JOBS if job in run.busy]


def overlap(run: Watched) -> float:
    busy = [each for _, each in in_order(run)]
    return sum(each.seconds for each in busy) / (max(each.last_s for each in busy) - min(each.first_s for each in busy))


def first_row(first_s: dict[int, list[float]], few: int, many: int) -> Row:
    first = {papers: figure(seconds) for papers, seconds in first_s.items()}
    return Row(
        measure=f"start of the process to the first request, {many} papers against {few}, s",
        value=str(first[many]),
        floor=str(first[few]),
        target=f"≤ {FIRST_TARGET_S:g}, and not {GROWTH_S:g} s later for more papers",
        met=first[many].median <= FIRST_TARGET_S and first[many].median <= first[few].median + GROWTH_S,
    )


def question_rows(found: dict[int, list[Watched]], few: int, many: int) -> list[Row]:
    asked = {papers: figure([run.busy["ask"].first_s for run in runs]) for papers, runs in found.items()}
    answered = [run.busy["answer"].first_s / run.busy["parse"].last_s for run in found[many]]
    return [
        Row(
            measure=f"start of the process to the first question, behind the trial's answer, {many} papers against {few}, s",
            value=str(asked[many]),
            floor=str(asked[few]),
        ),
        Row(
            measure=f"first answer asked for, as a share of the time at which the last of {many} papers is parsed",
            value=str(figure(answered)),
            target="< 1",
            met=max(answered) < 1,
        ),
        Row(
            measure=f"jobs at work at a time, on average, {many} papers",
            value=str(figure([overlap(run) for run in found[many]])),
            target="> 1",
            met=min(overlap(run) for run in found[many]) > 1,
        ),
    ]


if __name__ == "__main__":
    main()
