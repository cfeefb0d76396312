"""The failures of a run: each failed input with its reason, its paper, and what was answered to it; reads, never writes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from engine.datasets import Dataset
from engine.failed_replies import read_replies
from jobs.records import Paper
from jobs.registry import Declaration, declared
from jobs.report.data import Failure
from jobs.run.folder import beginning

__all__ = ["failures", "first_of_each", "job_failures", "jobs_made", "naming_papers"]

_DETAILED_FAILURES = 1000
_AT_ONCE = 1000
_SAME_TEXT = re.compile(r"\(paper ([0-9a-f]{32})\)$")


def jobs_made(datasets: Mapping[str, Dataset[Any]]) -> dict[Declaration, Dataset[Any]]:
    """Each job that makes rows in this run, with its dataset; dealing papers is left out: it costs nothing and never
    fails.
    """
    jobs = declared(beginning(datasets)).values()
    return {job: datasets[job.writes] for job in jobs if job.writes and job.writes != "papers"}


def failures(datasets: Mapping[str, Dataset[Any]], kind: str | None = None) -> Iterator[Failure]:
    """Every failure of every job, or those of one `kind`, with the path of its paper where the failed input is a paper;
    blocks.
    """
    for declaration, dataset in jobs_made(datasets).items():
        for number, failed in _by_shard(declaration.name, dataset, kind):
            if declaration.name == "parse" and failed:
                paths = {paper.id: paper.path for paper in datasets["papers"].read(number)}
                yield from (msgspec.structs.replace(each, paper=paths.get(each.id, "")) for each in failed)
            else:
                yield from failed


def job_failures(job: str, dataset: Dataset[Any], kind: str | None = None) -> Iterator[Failure]:
    """Every failure of one job, or those of one `kind`, from the dataset that it writes; blocks."""
    for _, failed in _by_shard(job, dataset, kind):
        yield from failed


def naming_papers(found: Iterable[Failure], papers: Dataset[Paper]) -> Iterator[Failure]:
    """The failures, where a paper that "came first" is called by its path as well as by its id; blocks.

    Papers are read once for a thousand such failures, and not at all where there are none.
    """
    each = iter(found)
    while some := list(islice(each, _AT_ONCE)):
        named = [_SAME_TEXT.search(failure.reason) if failure.kind == "duplicate" else None for failure in some]
        wanted = {match[1] for match in named if match}
        paths = _paths(papers, wanted) if wanted else {}
        for failure, match in zip(some, named, strict=True):
            path = paths.get(match[1]) if match else None
            yield msgspec.structs.replace(failure, reason=f"{failure.reason[:-1]}, {path})") if path else failure


def first_of_each(found: Iterable[Failure], most: int = _DETAILED_FAILURES) -> list[Failure]:
    """As many failures as a page can show: the first `most` of each job and kind."""
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for failure in found:
        seen[failure.job, failure.kind] += 1
        if seen[failure.job, failure.kind] <= most:
            kept.append(failure)
    return kept


def _paths(papers: Dataset[Paper], wanted: Collection[str]) -> dict[str, str]:
    return {paper.id: paper.path for paper in papers.rows() if paper.id in wanted}


def _by_shard(job: str, dataset: Dataset[Any], kind: str | None) -> Iterator[tuple[int, list[Failure]]]:
    """The failures of each shard that has any, sealed or open."""
    for number in dataset.sealed():
        shard = dataset.shard(number)
        seal = shard.seal()
        failed = [each for each in seal.failures if kind in (None, each.kind)] if seal else []
        if failed:
            replies = read_replies(shard.replies)
            yield number, [_failure(job, each.id, each, replies.get(each.id, "")) for each in failed]
    for shard in dataset.unsealed():
        entries = [(e.id, e.error, e.reply) for e in shard.peek() if e.error and kind in (None, e.error.kind)]
        yield shard.index, [_failure(job, *entry) for entry in entries]


def _failure(job: str, id_: str, why: Any, reply: str) -> Failure:
    return Failure(job=job, kind=why.kind, id=id_, reason=why.reason, reply=reply)
