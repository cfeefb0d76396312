"""`make install` from a checkout, in folders of its own; `make soak` runs it, since it fetches or copies every package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.soak, pytest.mark.processes]


def test_the_command_works_elsewhere(tmp_path: Path, example_papers: Path) -> None:
    """What `make install` prints is a command that runs outside of the checkout, with the packages of the lock file."""
    places = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    made = subprocess.run(
        ["make", "install", "EXTRAS=", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        env=os.environ | places,
        capture_output=True,
        text=True,
        check=True,
    )
    command = made.stdout.split("installed: ")[1].strip()
    assert command == str(tmp_path / "bin" / "gristmill")
    parsing = [command, "run", str(example_papers), "--out", "run", "--until", "parse"]
    done = subprocess.run(parsing, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "parse: 3/3, done" in done.stderr
    (python,) = (tmp_path / "tools" / "gristmill" / "bin").glob("python3")
    versions = "from importlib.metadata import version; print(version('aiohttp'), version('lancedb'))"
    said = [
        subprocess.run([str(each), "-c", versions], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for each in (python, sys.executable)
    ]
    assert said[0] == said[1]
