"""Papers, prompts and models: the jobs that gristmill's engine runs, its command line, and its way in from Python.

``from jobs import run_pipeline`` runs a pipeline in a running event loop; see docs/python.md. Each name below is
imported when it is first used, so that ``import jobs`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.errors import BadInput, Fatal
    from engine.signals import Stop
    from jobs.api import JobProgress, RunResult, run_pipeline
    from jobs.config import Config

__all__ = ["BadInput", "Config", "Fatal", "JobProgress", "RunResult", "Stop", "run_pipeline"]

_HOMES = {
    "BadInput": "engine.errors",
    "Config": "jobs.config",
    "Fatal": "engine.errors",
    "JobProgress": "jobs.api",
    "RunResult": "jobs.api",
    "Stop": "engine.signals",
    "run_pipeline": "jobs.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
