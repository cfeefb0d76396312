"""What the log of a run says of its jobs: which have begun and ended, what they wait for, and what happened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobs.report.html import duration
from jobs.report.remaining import Pace
from jobs.serve.log_tail import Said
from jobs.serve.run_now import Happening

__all__ = ["Heard"]


class Heard:
    """The jobs of the last process of a run. `training` is the last step of one on this machine."""

    def __init__(self) -> None:
        self.training: Said | None = None
        self._begun: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._earlier: dict[str, int] = {}
        self._pauses: dict[str, tuple[float, str]] = {}

    def hear(self, lines: Iterable[Said]) -> Iterator[Happening]:
        """Take in some lines of the log; yields what a reader wants to know of."""
        for line in lines:
            match line.event.removeprefix("gristmill."):
                case "job.started":
                    self._begun[line.job] = line.at
                    self._ended.pop(line.job, None)
                    self._earlier.pop(line.job, None)
                case "job.finished":
                    self._ended[line.job] = line.at
                    self._pauses.pop(line.job, None)
                case "shard.sealed" if line.found:
                    self._earlier[line.job] = self._earlier.get(line.job, 0) + line.inputs
                case "attempt.failed":
                    self._pauses[line.job] = (line.at + line.wait_s, line.reason or line.kind)
                    yield _happening(line, line.kind, f"{line.reason}; again in {duration(line.wait_s)}")
                case "input.failed" | "input.dropped":
                    yield _happening(line, line.kind, line.reason)
                case "note":
                    yield _happening(line, "note", line.text)
                case "finetune.progress":
                    yield _happening(line, line.status, line.message)
                case "training.step":
                    self.training = line

    def begun(self, job: str) -> bool:
        return job in self._begun

    def ended(self, job: str) -> bool:
        return job in self._ended

    def pause(self, job: str, now: float) -> str:
        """Why `job` pauses at `now` and for how long; "" where it does not."""
        until, reason = self._pauses.get(job, (0.0, ""))
        return f"{reason}; again in {duration(until - now)}" if until > now else ""

    def pace(self, job: str, done: int, now: float) -> Pace | None:
        """What `job` has finished since it began, of `done` inputs in all; None where it has not begun."""
        if job not in self._begun:
            return None
        seconds = max(0.0, self._ended.get(job, now) - self._begun[job])
        return Pace(inputs=max(0, done - self._earlier.get(job, 0)), seconds=seconds)


def _happening(line: Said, what: str, text: str) -> Happening:
    return Happening(at=line.at, job=line.job, what=what, text=text)
