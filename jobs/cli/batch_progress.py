"""How the batches of a run stand while it works: for the progress on the terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.events import BatchChanged
from jobs.cli.batches import batch_lines
from jobs.cli.estimate import asked_sections
from jobs.config import Config
from jobs.registry import JOBS
from jobs.run.batches import BatchView, state_word

__all__ = ["BatchProgress", "Batched", "batched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batched:
    """What is asked in batches: the roles of each job that are, and the window of each of them in seconds."""

    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    windows: Mapping[str, float] = field(default_factory=dict)


def batched(config: Config) -> Batched:
    """What `config` asks in batches; a tuned model is asked as the base is."""
    windows = {role: model.window_s for role, model in config.models.sections().items() if model.batch}
    if "base" in windows:
        windows["tuned"] = windows["base"]
    asked = {job.name: {*asked_sections(config, job.name)} for job in JOBS if job.role}
    roles = {job: frozenset(found | {"tuned"} if job == "respond" else found) for job, found in asked.items()}
    return Batched(roles={job: found & windows.keys() for job, found in roles.items()}, windows=windows)


class BatchProgress:
    """The batches that are not fetched yet, by what events have said of them."""

    def __init__(self, asked: Batched) -> None:
        self._asked = asked
        self._live: dict[int, BatchChanged] = {}

    def add(self, event: BatchChanged) -> bool:
        """Take up how a batch stands now; returns whether it is in another state than before."""
        before = self._live.pop(event.number, None)
        if event.state != "ended":
            self._live[event.number] = event
        return before is None or _word(before) != _word(event)

    def lines(self) -> list[str]:
        """One line for each state of batches that are not fetched yet."""
        now = time.time()
        return batch_lines([self._view(event, now) for event in self._live.values()])

    def waits(self, job: str) -> bool:
        """Whether batches are on their way that hold requests of this job, or of another job to the same model."""
        return any(event.role in self._asked.roles.get(job, ()) for event in self._live.values())

    def takes_part(self, job: str) -> bool:
        """Whether this job's answers come in batches, all at once, so that no rate tells the time that is left."""
        return bool(self._asked.roles.get(job))

    @property
    def any(self) -> bool:
        return bool(self._live)

    def _view(self, event: BatchChanged, now: float) -> BatchView:
        return BatchView(
            number=event.number,
            id="",
            role=event.role,
            jobs=[],
            state=_word(event),
            live=True,
            rows=event.rows,
            done=event.done,
            failed=event.failed,
            age_s=max(0.0, now - event.made_at),
            window_s=self._asked.windows.get(event.role, 0.0),
        )


def _word(event: BatchChanged) -> str:
    return state_word(event.state, event.status)
