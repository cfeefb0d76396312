"""The failures of a run as lines for a terminal: counts by kind, a page of examples, and each of one kind in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote

from jobs.report.collect import JobState
from jobs.report.data import Failure
from jobs.report.failure_list import first_of_each
from jobs.run.outside_text import visible

__all__ = ["failure_page", "kind_lines", "listed"]

_OF_EACH = 3
_PAGE = 20


def kind_lines(run: Path, states: Sequence[JobState]) -> Iterator[str]:
    """Each kind of failure with its count and its jobs, the most frequent first, and how to see more; nothing where
    nothing failed.
    """
    kinds: Counter[str] = Counter()
    jobs: dict[str, list[str]] = {}
    for state in states:
        kinds.update(state.failures)
        for kind in state.failures:
            jobs.setdefault(kind, []).append(state.job)
    if not kinds:
        return
    yield f"{kinds.total():,} failed, by kind:"
    width = max(len(visible(kind, 60)) for kind in kinds)
    for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])):
        yield f"  {count:>7,}  {visible(kind, 60):<{width}}  in {', '.join(jobs[kind])}"
    first = visible(min(kinds, key=lambda kind: (-kinds[kind], kind)), 60)
    yield f"see all of one kind, with what was answered: gristmill status {quote(visible(str(run), 4096))} --failures {quote(first)}"


def failure_page(found: Iterable[Failure]) -> Iterator[str]:
    """Some failures of each job and kind, one a line, at most a page."""
    some = first_of_each(found, _OF_EACH)
    if some:
        yield "for example:"
    yield from (f"  {_line(failure)}" for failure in some[:_PAGE])


def listed(failure: Failure) -> Iterator[str]:
    """One failure with what was answered, if that was kept."""
    yield _line(failure)
    if failure.reply:
        yield f"  answered: {visible(failure.reply, 2000)}"


def _line(failure: Failure) -> str:
    name = visible(failure.paper or failure.id, 4096)
    return f"{failure.job} {visible(failure.kind)}: {name}: {visible(failure.reason, 4096)}"
