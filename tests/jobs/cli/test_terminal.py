from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli.main import main

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r"])
def test_any_encoding_of_the_terminal(encoding: str) -> None:
    """What the encoding of stdout or stderr lacks is written in plain letters, and never raises."""
    code = (
        "from jobs.cli.terminal import make_printable; import sys; make_printable();"
        "print('−0.5 … “t” → 木'); print('×木', file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout.decode(encoding).startswith("-0.5 ")
    assert done.stdout.decode(encoding).rstrip().endswith("?")


def test_a_run_on_a_terminal_of_ascii(
    tmp_path: Path, example_papers: Path, simulate: Callable[..., str], configured: Callable[..., Path]
) -> None:
    """A whole run, whose table has minus signs, ends well where the terminal knows ASCII alone."""
    run, config = tmp_path / "run", configured(simulate())
    command = [sys.executable, "-m", "jobs", "run", str(example_papers), "--out", str(run), "--config", str(config)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert b"correctness" in done.stdout
    assert done.stdout.isascii()


def test_a_name_in_the_system_prompt_that_nothing_replaces(
    tmp_path: Path, example_papers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """{foo} in the system prompt is refused before anything is written; {title} and other braces are not."""
    run = tmp_path / "run"
    command = ["run", str(example_papers), "--out", str(run), "--until", "parse", "--set"]
    assert main([*command, "export.system_prompt=About {titel}."]) == 1
    assert "holds {titel}, which nothing replaces" in capsys.readouterr().err
    assert not run.exists()
    assert main([*command, 'export.system_prompt=About {title}, as {"a": 1} and {}.']) == 0
