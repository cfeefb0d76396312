"""The pipeline of a run: every job and step that `jobs.registry` declares, built for one configuration.

The ``stage.py`` of each package builds its jobs and their fingerprints. A fingerprint holds the settings that change
the meaning of rows. Limits, timeouts and lengths are not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from engine.job import Job, Pipeline, Step
from jobs.registry import Beginning, Declaration, check, declared
from jobs.run.context import RunContext

__all__ = ["build"]


def build(context: RunContext) -> Pipeline:
    """Every job and step of a run, in order, for a run that begins with papers or with the pairs of a file."""
    beginning: Beginning = "pairs" if context.config.evaluate.pairs else "papers"
    steps = (_builder(declaration)(context) for declaration in declared(beginning).values())
    return check([step for step in steps if step is not None], beginning)


def _builder(declaration: Declaration) -> Callable[[RunContext], Job | Step | None]:
    module = import_module(f"jobs.{declaration.module}")
    builder: Callable[[RunContext], Job | Step | None] = getattr(module, f"build_{declaration.name}")
    return builder
