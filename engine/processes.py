"""How a process ended, in words, and how many cores this process may use."""

from __future__ import annotations

import os
import signal

__all__ = ["how_it_ended", "usable_cores"]


def how_it_ended(returncode: int) -> str:
    """How a process ended, in words: "exited with status 1", "was killed by SIGSEGV"."""
    if returncode >= 0:
        return f"exited with status {returncode}"
    hint = "; the system may be short of memory" if -returncode == signal.SIGKILL else ""
    names = {each.value: each.name for each in signal.Signals}  # real-time signals have none
    return f"was killed by {names.get(-returncode, f'signal {-returncode}')}{hint}"


def usable_cores() -> int:
    """The cores that this process may use: the share of a container or batch job, if the system reports it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
