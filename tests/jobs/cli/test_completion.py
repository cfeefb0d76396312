"""The completion scripts, and the reference page of the commands, which are made of the same parser."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from jobs.cli.completion import SHELLS, every_parser, script
from jobs.cli.main import command_parser, main
from jobs.cli.reference import files, page
from jobs.registry import stoppable

FLAGS = {
    f"{parser.prog} {flag}"
    for parser in every_parser(command_parser(whole=True))
    for action in parser._actions
    for flag in action.option_strings
    if flag.startswith("--") and action.help is not argparse.SUPPRESS
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_every_flag(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script for each shell knows every flag of every command, those of simulate among them."""
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert len(FLAGS) > 80
    assert not [flag for flag in FLAGS if flag.split()[-1].removeprefix("--") not in text]


@pytest.mark.processes
def test_what_a_shell_offers(tmp_path: Path) -> None:
    """bash offers commands, flags, jobs and files for the words before the cursor, and starts no gristmill for it."""
    if not (bash := shutil.which("bash")):
        pytest.skip("there is no bash")
    (tmp_path / "completion").write_text(script(command_parser(whole=True), "bash"), "utf-8")
    (tmp_path / "papers.pdf").touch()

    def offered(*words: str) -> set[str]:
        line = (
            f"source completion; COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; "
            f"_shtab_gristmill gristmill {words[-1]!r} {words[-2]!r}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        done = subprocess.run([bash, "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert offered("gristmill", "ev") == {"evaluate"}
    assert offered("gristmill", "run", "--all") == {"--all-papers"}
    assert offered("gristmill", "run", "--until", "") == set(stoppable())
    assert offered("gristmill", "run", "pap") == {"papers.pdf"}
    assert offered("gristmill", "simulate", "--fault-5") == {"--fault-500", "--fault-503"}


@pytest.mark.processes
def test_nothing_is_imported_for_it() -> None:
    """The command line loads neither shtab nor pydantic nor the simulator before a command needs them."""
    code = (
        "import sys; from jobs.cli.main import command_parser; command_parser(); "
        "print([name for name in ('shtab', 'pydantic', 'jobs.config', 'jobs.simulator') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", files())
def test_the_page_is_up_to_date(name: str) -> None:
    """What stands in docs/ is what `make docs` writes."""
    assert (ROOT / "docs" / name).read_text("utf-8") == files()[name], "run make docs"


def test_the_page_has_every_flag() -> None:
    """Each command has a section with all of its flags in it."""
    sections = {part.partition("\n")[0]: part for part in page().split("\n## ")[1:]}
    commands = {flag.partition(" --")[0]: [] for flag in FLAGS} | {"gristmill": []}
    assert sections.keys() == commands.keys() - {"gristmill"} | {"gristmill completion"}
    for flag in FLAGS:
        command, _, name = flag.partition(" --")
        assert command == "gristmill" or name == "help" or f"`--{name}" in sections[command]
