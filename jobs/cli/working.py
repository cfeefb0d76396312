"""A session on the terminal: its progress, the signals that stop it, and its exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from engine.signals import Stop, stop_on_signals
from jobs.cli.batch_progress import batched
from jobs.cli.batches import batch_lines
from jobs.cli.progress import Progress
from jobs.models.roles import served_by
from jobs.registry import stoppable
from jobs.run.batches import live, read_batches
from jobs.run.folder import RunFolder
from jobs.session import Outcome, opened
from jobs.work import Selection, Work, prepare

if TYPE_CHECKING:
    from jobs.cli.serve_command import Serving

__all__ = ["DONE", "FAILED_RECORDS", "STOPPED", "prepared", "work_on"]

DONE, FAILED_RECORDS, STOPPED = 0, 3, 130
"""Exit codes: all done; done, with some records failed; stopped by a signal, to be resumed."""

_STOPPING = "stopping: {} finished and saved; Ctrl-C again to stop at once"


def prepared(
    folder: RunFolder,
    papers: Sequence[Path] = (),
    settings: Mapping[str, Any] | None = None,
    selection: Selection | None = None,
    *,
    preflight: bool = True,
) -> Work:
    """`prepare`, with a note on stderr when weights are downloaded. Before the event loop runs, Ctrl-C ends it at once."""
    work = prepare(folder, papers, settings, selection=selection, tell=lambda line: print(line, file=sys.stderr))
    return replace(work, preflight=preflight)


def work_on(work: Work, serving: Serving | None = None, *, says_result: bool = True) -> int:
    """Run the session with its progress, and served where `serving` says how; returns the exit code.

    With `says_result` the table, some pairs and what failed are printed at the end. Raises `BadInput` and other `Fatal`
    errors.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    outcome = asyncio.run(_worked(work, console, serving))
    if outcome.stopped:
        console.print(f"stopped; run the same command again to go on with {work.folder.path}")
        for line in _left_behind(work.folder):
            console.print(line)
        return STOPPED
    if not outcome.worked and work.selection.only is None:
        console.print("nothing is left to do")
    if says_result:
        from jobs.cli.ending import print_ending

        print_ending(work.folder, work.config, outcome.report, Console())
    return FAILED_RECORDS if outcome.failed else DONE


def _left_behind(folder: RunFolder) -> Iterator[str]:
    """What a user has to know of the batches that stay at a provider; no line where there are none."""
    waiting = live(read_batches(folder.batches))
    yield from batch_lines(waiting)
    if waiting:
        yield (
            "batches go on at the provider and are paid for; the same command fetches their answers, "
            f"gristmill batches {folder.path} shows them"
        )


async def _worked(work: Work, console: Console, serving: Serving | None) -> Outcome:
    stop, progress = Stop(), Progress(console, ("deal", *stoppable()), batched(work.config))
    for line in served_by(work.config) if work.asks else ():
        console.print(line)
    async with opened(work, stop=stop, hook=progress) as session:

        def tell() -> None:
            console.print(_STOPPING.format(session.traffic.words()))

        async with serving(session, console.print) if serving else nullcontext():
            with stop_on_signals(stop, on_first=tell), progress.showing(), progress.ticking():
                return await session.run()
