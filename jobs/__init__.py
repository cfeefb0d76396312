"""Papers, prompts and models: the jobs that gristmill's engine runs, and its command line."""

from __future__ import annotations

__all__ = ["COMPARING", "JOBS", "REDOABLE", "ROLES"]

_MAKING = ("parse", "ask", "answer", "index", "probe", "critique", "curate", "augment")
COMPARING = ("respond", "similarity", "judge", "assess", "rejudge", "prefer")

REDOABLE = (*_MAKING, *COMPARING)
"""The jobs that make rows, in order."""

JOBS = (*_MAKING, "export", "finetune", *COMPARING, "report")
"""All jobs and steps after dealing, in order."""

ROLES = ("generator", "base", "judge", "embedding")
"""Those for which a model is configured."""
