"""What a run says at its end: the table, some pairs, what failed, and where the report is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from jobs.cli.failed import kind_lines
from jobs.config import Config
from jobs.report.collect import job_state, job_states
from jobs.report.product import Product, product
from jobs.review.reviewed import reviewed
from jobs.run.folder import RunFolder
from jobs.run.outside_text import visible
from jobs.run.own_jobs import own_in

if TYPE_CHECKING:
    from jobs.report.data import ReportData

__all__ = ["print_ending"]

_PAIRS = 3
_LONGEST = 240


def print_ending(folder: RunFolder, config: Config, report: ReportData | None, console: Console) -> None:
    """Print what the run in `folder` came to; `report` is None where the run ended before it; blocks."""
    datasets = {**folder.datasets(), **reviewed(folder)}
    if report is not None:
        from jobs.report.console_table import print_table

        print_table(report, console)
    made = report.product if report is not None else product(config, datasets)
    states = [*job_states(datasets), *(job_state(job, dataset) for job, dataset in own_in(folder).items())]
    for part in (_pair_lines(made), kind_lines(folder.path, states), _last_lines(folder, report)):
        lines = list(part)
        for line in ["", *lines] if lines else []:
            console.print(Text(line), soft_wrap=True)  # a paper or a model may write what is a command to a terminal


def _pair_lines(made: Product) -> Iterator[str]:
    if not made.sample:
        return
    count = min(_PAIRS, len(made.sample))
    yield f"{count} of {made.kept:,} kept pair{'s' * (made.kept != 1)}:"
    for pair in islice(made.sample, count):
        place = f" ({visible(pair.title, 80)}{f', page {pair.page}' if pair.page else ''})" if pair.title else ""
        yield f"  Q: {visible(pair.question, _LONGEST)}{place}"
        yield f"  A: {visible(pair.answer, _LONGEST)}"


def _last_lines(folder: RunFolder, report: ReportData | None) -> Iterator[str]:
    if report is not None:
        from jobs.report.headline import headline

        yield visible(headline(report), 1500)
        yield f"report: {visible(str(folder.path / 'report.html'), 4096)}"
