"""Papers, prompts and models: the jobs that gristmill's engine runs, and its command line."""

from __future__ import annotations

__all__ = ["JOBS", "REDOABLE"]

REDOABLE = ("parse", "ask", "answer", "index", "augment", "respond", "similarity", "judge")
"""The jobs that make rows, in order."""

JOBS = (*REDOABLE[:5], "export", "finetune", *REDOABLE[5:], "report")
"""All jobs and steps after dealing, in order."""
