"""The documentation site: its commands, settings and messages are those of the code, and each page has a place."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT
from sources import sources

from jobs.cli.completion import every_parser
from jobs.cli.main import command_parser, main
from jobs.run import configfile

pytestmark = pytest.mark.slow  # it reads all documents and all code

DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md"]
WRITTEN = [page for page in PAGES if page.name != "commands.md"]
"""The pages that people write."""

MESSAGES = re.findall(r"^\| `([^`]+)` \|", (DOCS / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language, "" for none."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The command lines of gristmill on a page, in blocks and between backticks, without what is said beside them."""
    lines = [line for block in blocks(page, "") for line in block.splitlines() if line.startswith("gristmill ")]
    lines += [said for said in re.findall(r"`(gristmill [^`\n]*)`", page.read_text("utf-8")) if len(said.split()) > 2]
    typed = [re.split(r" {2,}| > |\.\.\.$", line)[0].replace("...", "") for line in lines]
    return [line for line in typed if "…" not in line]


@pytest.mark.parametrize(("page", "line"), [(page.name, line) for page in WRITTEN for line in commands(page)])
def test_commands_can_be_typed(page: str, line: str) -> None:
    """Every command line in the documents is one that the parser takes."""
    words = shlex.split(line, comments=True)[1:]
    for placeholder, value in (("JOB", "ask"), ("ROLE", "judge"), ("SHELL", "bash"), ("NAME", "openai"), ("N", "1")):
        words = [value if word == placeholder else word for word in words]
    if words[-1] == "--help":
        assert any(parser.prog == f"gristmill {words[0]}" for parser in every_parser(command_parser()))
    else:
        command_parser(whole=True).parse_args(words)


@pytest.mark.parametrize(("page", "text"), [(page.name, text) for page in PAGES for text in blocks(page, "toml")])
def test_settings_are_settings(page: str, text: str) -> None:
    """Every TOML block in the documents is a configuration."""
    configfile.validate(tomllib.loads(text))


@cache
def texts() -> list[str]:
    """Every text in the code, with … for each value that is put into it."""
    found = []
    for module in sources("engine") + sources("jobs"):
        for node in module.nodes:
            if isinstance(node, ast.JoinedStr):
                found.append("".join(map(_part, node.values)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value.replace("{}", "…"))
    return found


def _part(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "…"


@pytest.mark.xdist_group("sources")
@pytest.mark.parametrize("message", MESSAGES)
def test_messages_are_in_the_code(message: str) -> None:
    """Every message under Troubleshooting is one that the code can print."""
    pattern = re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL)
    assert [text for text in texts() if pattern.search(text)]


def test_messages_are_many() -> None:
    """The page of messages is read as it is meant to be, and no message stands in it twice."""
    assert len(MESSAGES) > 50
    assert len(MESSAGES) == len(set(MESSAGES))


def test_every_page_has_a_place() -> None:
    """Each page is named once in the contents, so that the site shows it."""
    listed = [line for block in blocks(DOCS / "index.md", r"\{toctree\}") for line in block.split("\n\n")[1].split()]
    assert sorted(listed) == sorted(path.stem for path in DOCS.glob("*.md") if path.stem != "index")


@pytest.mark.processes
def test_the_first_five_minutes(
    simulate: Callable[..., str],
    example_papers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The commands under Start, typed in order for the simulated endpoint, end with a report and training data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_KEY", "any")
    filled = {"URL": simulate(), "PAPERS": str(example_papers), "RUN": "run"}
    typed = [
        line
        for line in commands(DOCS / "start.md")
        if "YOUR-MODEL" not in line and line.split()[1] not in ("simulate", "serve")
    ]
    assert [line.split()[1] for line in typed] == ["init", "run", "run", "run", "run", "status"]
    for line in typed:
        assert main([filled.get(word, word) for word in shlex.split(line)[1:]]) == 0, capsys.readouterr().err
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "dataset" / "train.jsonl").is_file()
