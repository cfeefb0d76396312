from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sources import sources

from engine.children import child_command, start_child

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]

# What the children call stands at the top of this module.


def say_what_is_known() -> None:
    ignored = [signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)]
    print(sys.argv[1:], ignored, "" in sys.path, os.getcwd() in sys.path)  # noqa: PTH109 - as a string


def repeat_a_line() -> None:
    print(sys.stdin.readline().upper(), end="")


async def test_a_child_calls_the_function(capfd: pytest.CaptureFixture[str]) -> None:
    """It gets what is written to its stdin, and what it prints arrives on its stdout."""
    child = await start_child(f"{__name__}:repeat_a_line", stderr=asyncio.subprocess.DEVNULL, environment=os.environ)
    answer, _ = await child.communicate(b"a line\n")
    assert answer == b"A LINE\n"
    assert child.returncode == 0


def test_a_child_leaves_signals_to_its_parent_and_knows_no_folder_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGINT and SIGTERM are ignored, the arguments are gone, and the working directory is not on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    said = subprocess.run(child_command(f"{__name__}:say_what_is_known"), check=True, capture_output=True, text=True)
    assert said.stdout == "[] [True, True] False False\n"


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to kill orphans")
def test_a_child_of_nobody_ends() -> None:
    """A child whose parent died before it could ask for its own death ends by itself."""
    command = child_command(f"{__name__}:say_what_is_known")
    command[-2] = "1"  # the process that it takes for its parent
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


def test_every_child_is_started_here() -> None:
    """No other module starts Python but two: for pip, without the user's folder, and for a program of llama.cpp's."""
    starts = {
        module.path: re.findall(r"\[sys\.executable, [^,]*,", module.text)
        for module in sources("engine") + sources("jobs")
        if "sys.executable" in module.text
    }
    assert starts == {
        "engine/children.py": ['[sys.executable, "-P",'],
        "jobs/models/gguf.py": ["[sys.executable, str(tools / program),"],
        "jobs/models/weights.py": ['[sys.executable, "-P",'],
    }
