"""Papers, prompts and models: the jobs that gristmill's engine runs, and its command line."""

from __future__ import annotations
