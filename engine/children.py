"""Child processes of ours: a fresh interpreter that runs one of our functions, ends with us, and leaves signals to us.

A child has the module search path of its parent. The folder that the user works in is not on it, so a package `jobs` of
the user's own, or a file json.py, is not imported for ours. Not a fork: nothing of our loop, threads and open files is
in it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import IO

__all__ = ["child_command", "start_child"]


def child_command(function: str) -> list[str]:
    """The command that calls `function` ("module:name") without arguments in a child of this process."""
    path = [entry for entry in sys.path if isinstance(entry, str) and entry]  # "" is the folder one works in
    return [sys.executable, "-P", "-c", _BOOTSTRAP, json.dumps(path), str(os.getpid()), function]


async def start_child(
    function: str, *, stderr: int | IO[bytes], environment: Mapping[str, str], new_session: bool = False
) -> asyncio.subprocess.Process:
    """Start a child that calls `function`; its stdin and stdout are pipes. In a `new_session` Ctrl-C does not reach it."""
    return await asyncio.create_subprocess_exec(
        *child_command(function),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env=environment,
        start_new_session=new_session,
    )


# What follows runs in the child.

# Ctrl-C and a service manager's SIGTERM reach the whole process group; only the parent may decide what ends.
_BOOTSTRAP = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
path, parent, function = sys.argv[1:]
sys.path[:] = json.loads(path)
del sys.argv[1:]
from engine.children import _call
_call(int(parent), function)
"""


def _call(parent: int, function: str) -> None:
    _die_with(parent)
    module, _, name = function.partition(":")
    getattr(import_module(module), name)()


def _die_with(parent: int) -> None:
    """On Linux, ask the kernel to kill us when the process `parent` dies."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
