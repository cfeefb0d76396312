"""What each job has done in a run, counted from its events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.events import (
    AttemptFailed,
    BatchChanged,
    Event,
    InputDone,
    InputDropped,
    InputFailed,
    JobFinished,
    JobStarted,
    Note,
    RowsDropped,
    ShardOpened,
    ShardSealed,
)
from engine.requests import Usage

__all__ = ["Counts", "JobCounts"]


@dataclass(slots=True, kw_only=True)
class JobCounts:
    """One job's figures, in inputs. `total` grows while the job above is not finished.

    `done`, `failed` and `usage` include earlier processes of the run; `worked` counts only this one.
    """

    done: int = 0
    total: int = 0
    failed: int = 0
    worked: int = 0
    dropped_rows: int = 0
    usage: Usage = field(default_factory=Usage)
    state: str = "waits"

    def add(self, event: Event) -> None:
        """Count one event of this job."""
        match event:
            case JobStarted():
                self.state = "works"
            case JobFinished():
                self.state = "done"
            case ShardOpened():
                self._add_earlier(event.inputs, event.done, event.failed, event.usage)
            case ShardSealed(found=True):
                self._add_earlier(event.inputs, event.inputs, event.failed, event.usage)
            case InputDone():
                self.done += event.inputs
                self.worked += event.inputs
                self.usage += event.usage
            case InputFailed():
                self.done += 1
                self.worked += 1
                self.failed += 1
                self.usage += event.usage
            case InputDropped():
                self.failed += 1
            case RowsDropped():
                self.dropped_rows += sum(event.reasons.values())
            case AttemptFailed() | BatchChanged() | Note() | ShardSealed():
                pass
            case _:  # a step's own event, as of a training
                self.worked += 1

    def _add_earlier(self, inputs: int, done: int, failed: int, usage: Usage) -> None:
        self.total += inputs
        self.done += done
        self.failed += failed
        self.usage += usage


class Counts:
    """A hook that counts events by job; `jobs` are listed first, in their order."""

    def __init__(self, jobs: Iterable[str] = ()) -> None:
        self.jobs = {job: JobCounts() for job in jobs}

    def __call__(self, event: Event) -> None:
        self.jobs.setdefault(event.job, JobCounts()).add(event)

    @property
    def worked(self) -> int:
        """Inputs that were finished in this process, and steps of a training."""
        return sum(counts.worked for counts in self.jobs.values())

    @property
    def failed(self) -> int:
        """Inputs that failed, in this process or an earlier one."""
        return sum(counts.failed for counts in self.jobs.values())
