"""The work that a run is asked to do: its settings, papers and jobs, all checked before anything is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.job import Job, Pipeline, downstream, find, until
from engine.runner import Retry
from jobs.config import ENOUGH_PAPERS, Config
from jobs.models.prompts.replaced import with_own_prompts
from jobs.models.roles import check, used
from jobs.models.weights import Fetched, default_weights
from jobs.parsing.find import count_papers
from jobs.registry import stoppable
from jobs.run import configfile
from jobs.run.folder import RunFolder
from jobs.tuning.stage import check_tunable

__all__ = ["Selection", "Work", "prepare"]

_NEEDS_NO_MODEL = {"deal", "parse", "export", "report"}
"""Steps for which no key, no weights and no price are needed."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which jobs run, and on what: all of them, those up to `until`, or just the step `only`.

    The rows of the job `redo`, and all rows made from them, are deleted and made again. `retry` says which failures are
    tried again. `dropped` are candidates that the run leaves out from now on.
    """

    until: str | None = None
    only: str | None = None
    redo: str | None = None
    retry: Retry = lambda job, failure: False
    dropped: Collection[str] = ()

    def steps(self) -> Sequence[str]:
        """The names of the steps that may run, a user's own not among them."""
        jobs = stoppable()
        if self.only:
            return [self.only]
        return jobs[: jobs.index(self.until) + 1] if self.until in jobs else jobs

    def chosen(self, pipeline: Pipeline) -> Pipeline:
        """The jobs of `pipeline` that run. Raises `BadInput` for a name that is no job."""
        if self.only:
            return [find(pipeline, self.only)]
        return until(pipeline, self.until) if self.until else pipeline

    def redone(self, pipeline: Pipeline) -> Pipeline:
        """The jobs of `pipeline` whose rows are made again. Raises `BadInput` where they do not run."""
        redone = downstream(pipeline, self.redo) if self.redo else []
        if any(step not in self.chosen(pipeline) for step in redone[:1]):
            raise BadInput(f"--until {self.until} ends before {self.redo}: nothing of it would be made again")
        return redone


@dataclass(frozen=True, kw_only=True)
class Work:
    """One piece of work on a run, ready to be opened by `jobs.session`.

    `config` is resolved, and becomes the run's unless `keeps_settings`. `own` are a user's own jobs. `weights` are those
    of the embedded model, None where no role has it. `asks` says whether a chosen step may ask a model; with `preflight`
    each is tried with a small request first.
    """

    folder: RunFolder
    config: Config
    papers: Sequence[Path] = ()
    own: Sequence[Job] = ()
    weights: Fetched | None = None
    asks: bool = True
    selection: Selection = field(default_factory=Selection)
    keeps_settings: bool = False
    preflight: bool = True


def prepare(
    folder: RunFolder,
    papers: Sequence[Path] = (),
    settings: Mapping[str, Any] | None = None,
    *,
    selection: Selection | None = None,
    own: Sequence[Job] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Work:
    """Check the settings, the papers, and that every model can be called; fetch the embedded one. Blocks.

    `settings` is a table as in a TOML file; None means those that the run has, or the defaults. `tell` receives lines
    about the download of weights. Nothing is written to the run. Raises `BadInput` for what cannot be: a key or a price
    that is not set, a folder that is no run, papers that are not there, a prompt that lacks one of its places.
    """
    selection = selection or Selection()
    folder.check_usable()
    before = folder.config() if folder.exists else None
    if settings is None:
        settings = folder.table() if folder.exists else {}
    config = configfile.validate(settings)
    given = config.evaluate.pairs or (before is not None and before.evaluate.pairs)
    if papers and given:
        raise BadInput("a run of the pairs in a file has no papers: gristmill evaluate begins it and goes on with it")
    if not papers and not given and before is None:
        raise BadInput(f"{folder.path} is not a run yet: name papers to start one")
    if before is None or before.export.system_prompt != config.export.system_prompt:
        _check_system_prompt(config.export.system_prompt)
    config = config.with_parser_of(before)
    count = count_papers(papers, enough=ENOUGH_PAPERS, parser=config.parse.parser)
    config = config.resolved(papers=count, before=before, dropped=selection.dropped)
    config = with_own_prompts(config, settings, before)
    asks = not _NEEDS_NO_MODEL.issuperset(selection.steps())
    return Work(
        folder=folder,
        config=config,
        papers=papers,
        own=own,
        weights=_ready_models(config, tell) if asks else None,
        asks=asks,
        selection=selection,
    )


def _check_system_prompt(text: str) -> None:
    """Raise `BadInput` for a name in braces that nothing replaces: models would be trained on it as it stands."""
    unknown = [name for name in re.findall(r"\{([A-Za-z_]\w*)\}", text) if name != "title"]
    if unknown:
        raise BadInput(
            f"export.system_prompt holds {{{unknown[0]}}}, which nothing replaces: only {{title}} is; "
            "write the words themselves"
        )


def _ready_models(config: Config, tell: Callable[[str], None]) -> Fetched | None:
    """Check that every model has what it needs; returns the weights of the embedded one, None where no role has it."""
    check(config)
    check_tunable(config)
    chatting = [model for role, model in used(config).items() if role != "embedding"]
    if not any(model.model == "local" for model in chatting):
        return None
    fetched = default_weights(tell)
    if fetched.note:
        tell(fetched.note)
    return fetched
