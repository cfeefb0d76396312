"""`gristmill run --dry-run`: what a run would ask, cost and take, from a sample of its papers."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.records import make_id
from jobs.cli.both_ways import both_ways
from jobs.cli.estimate import Corpus, corpus_of, estimate_of, estimated_lines
from jobs.cli.left import left_of
from jobs.cli.working import STOPPED, prepared, work_on
from jobs.config import Config
from jobs.models.roles import served_by, used
from jobs.parsing.find import find_papers
from jobs.run import configfile
from jobs.run.folder import RunFolder
from jobs.run.model_names import model_name
from jobs.work import Selection, Work

__all__ = ["SAMPLE", "dry_run", "print_estimate"]

SAMPLE = 20
"""Papers that are parsed for an estimate, unless all are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    files: Sequence[Path]
    total: int


def dry_run(folder: RunFolder, papers: Sequence[Path], table: Mapping[str, Any], *, every: bool) -> int:
    """Parse and print the estimate; returns the exit code.

    With `every`, for few papers and for a run that is there, all papers are parsed into the run, which goes on from
    there. Else a sample is parsed elsewhere, and nothing is written to the run. Raises `BadInput` as `prepare` does.
    """
    sample = None if every or folder.exists else _sample(papers, table)
    if sample is None or sample.total <= len(sample.files):
        work = prepared(folder, papers, table, Selection(until="parse"))
        code = work_on(replace(work, keeps_settings=folder.exists))
        if code != STOPPED:
            print_estimate(work.config, replace(corpus_of(folder.datasets()["chunks"]), left=_left(work)))
        return code
    with tempfile.TemporaryDirectory(prefix="gristmill-") as scratch:
        elsewhere = RunFolder(Path(scratch) / "run")
        work = prepared(elsewhere, sample.files, table, Selection(until="parse"))
        code = work_on(work, says_result=False)
        if code != STOPPED:
            print(f"from {len(sample.files)} of {sample.total:,} papers; --all-papers parses every one")
            times = sample.total / len(sample.files)
            print_estimate(work.config, corpus_of(elsewhere.datasets()["chunks"], times=times))
        return code


def _left(work: Work) -> Mapping[str, int] | None:
    """What is left of a run that has questions; None for one that would have to be done again."""
    try:
        left = left_of(work)
    except BadInput as error:
        print(f"{error}; all of it:")
        return None
    if left is not None:
        print(f"left to do in {work.folder.path}:")
    return left


def print_estimate(config: Config, corpus: Corpus) -> None:
    """Print which models are asked, the requests, tokens, dollars and time of each job, and what both ways cost."""
    models = used(config).values()
    for line in (*served_by(config), *estimated_lines(config, estimate_of(config, corpus)), *both_ways(config, corpus)):
        print(line)
    if not any(model.requests_per_minute or model.tokens_per_minute or model.batch for model in models):
        print("no limits are configured, so the time is not known: gristmill bench measures what an endpoint can do")
    unpriced = sorted({model_name(model) for model in models if not model.priced})
    if unpriced:
        print(f"no price configured for {', '.join(unpriced)}: set input_usd_per_million and output_usd_per_million")
    print("nothing was sent")


def _sample(papers: Sequence[Path], table: Mapping[str, Any]) -> _Sample | None:
    """Some files of the corpus, chosen by hash; None where a file holds many papers, as they cannot be named one by one."""
    config = configfile.validate(table)
    total = 0
    smallest: list[tuple[int, Path]] = []
    for place in find_papers(papers, parser=config.parse.parser):
        if place.line:
            return None
        total += 1
        key = (-int(make_id("dry run", config.seed, place.name), 16), place.path)
        if len(smallest) < SAMPLE:
            heapq.heappush(smallest, key)
        else:
            heapq.heappushpop(smallest, key)
    return _Sample(files=sorted(path for _, path in smallest), total=total)
