"""Every quirk × every job that asks a model: the rows, what is learned, and the line that is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from engine.errors import BadInput
from jobs.cli.main import main
from jobs.simulator import Simulation
from jobs.simulator.quirks import QUIRKS

from .expected import ASKED_OTHERWISE, EXPECTED
from .quirky_jobs import JOBS, Outcome, outcome

pytestmark = pytest.mark.slow

FOREIGN = re.compile(
    r"</?think|\[/?THINK|<\||</s>|assistantfinal|Okay, let me look|\\u0000|\\u001b|\\u202e|[\x00\x1b\u202e]"
)
"""What no row may hold: a thought, a mark of a template, or a hidden character."""


@cache
def plain() -> Outcome:
    """What a server without quirks comes to."""
    with TemporaryDirectory() as folder:
        return outcome("", Path(folder), {})


def test_every_quirk_is_expected() -> None:
    """The table of quirks and the table of what they come to are the same; at least 40 name a public report."""
    assert {name for name, quirk in QUIRKS.items() if quirk.batches is None} == set(EXPECTED)
    reported = [quirk for quirk in QUIRKS.values() if re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", quirk.report)]
    assert len(reported) >= 40
    assert all(quirk.report == "" or quirk in reported for quirk in QUIRKS.values())
    assert all(quirk.server and quirk.about for quirk in QUIRKS.values())


def test_a_plain_server() -> None:
    """Every job has rows, nothing is tried again, and nothing is learned."""
    found = plain()
    assert set(found.rows) == set(JOBS)
    assert not any(isinstance(rows, str) for rows in found.rows.values())
    assert (found.fatal, found.notes, found.attempts_failed) == ("", [], [])


@pytest.mark.parametrize("name", EXPECTED)
def test_a_quirk(name: str, tmp_path: Path) -> None:
    """Each job has the rows that it should have, and each line that is shown says what was learned."""
    expected = EXPECTED[name]
    found = outcome(name, tmp_path, expected.settings)
    for job in JOBS:
        wanted = expected.rows.get(job)
        if wanted is None:
            assert found.rows[job] == plain().rows[job], job
        elif wanted == ASKED_OTHERWISE:
            assert found.rows[job]
            assert not isinstance(found.rows[job], str)
        else:
            assert found.rows[job] == wanted, job
    assert not FOREIGN.search(json.dumps(found.rows, ensure_ascii=False))
    assert set(found.attempts_failed) == expected.tried
    assert len(found.notes) == len(expected.learned)
    assert all(words in line for words, line in zip(expected.learned, found.notes, strict=True))
    assert expected.fatal in found.fatal
    assert "\n" not in found.fatal


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("max-completion-tokens", {"max_tokens_field": "max_completion_tokens"}),
        ("no-max-tokens", {"max_tokens_field": "none"}),
        ("no-temperature", {"temperature": "default"}),
        ("no-system-role", {"system_role": False}),
        ("no-json-schema", {"response_format": "json_object"}),
        ("no-response-format", {"response_format": "none"}),
        ("small-batch", {"batch_size": 2}),
        ("api-version", {"extra_query": {"api-version": "2024-10-21"}}),
        ("api-key-header", {"key_header": "api-key", "key_scheme": "", "api_key_env": "SOME_KEY"}),
    ],
)
def test_what_is_configured_is_not_learned(
    name: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its setting a server refuses nothing, and every job has rows."""
    monkeypatch.setenv("SOME_KEY", "a-key-for-tests")
    found = outcome(name, tmp_path, settings)
    assert not any(isinstance(rows, str) for rows in found.rows.values())
    assert (found.fatal, found.notes, found.attempts_failed) == ("", [], [])


def test_a_quirk_that_is_not_there() -> None:
    """An unknown name is refused with the one that was meant."""
    with pytest.raises(BadInput, match="did you mean think"):
        Simulation(quirk=("thinks",))


@pytest.mark.parametrize("quirks", ["tail-line,think,hidden-characters", "json-fence,think-swallowed"])
def test_a_thinking_model_through_a_whole_run(
    quirks: str,
    tmp_path: Path,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    example_papers: Path,
) -> None:
    """No file of the run holds a thought or a mark: not one row, not one training example, not the page."""
    out = tmp_path / "run"
    config = configured(
        simulate("--quirk", quirks), "[ask]\nmax_questions = 12\n[curate]\ncritic = true\ncritic_passing = 1\n"
    )
    assert main(["run", str(example_papers), "--out", str(out), "--config", str(config)]) == 0
    files = [path for path in out.rglob("*") if path.suffix in (".jsonl", ".json", ".html", ".md", ".toml", ".txt")]
    assert {"train.jsonl", "results.json"} <= {path.name for path in files}
    for path in files:
        assert not FOREIGN.search(path.read_text("utf-8")), path


def test_the_documented_quirks() -> None:
    """docs/endpoints.md lists every quirk as its table has it."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "endpoints.md").read_text("utf-8")
    listed = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+) \| (\S+) \|$", page, re.MULTILINE)
    assert listed == [
        (name, quirk.server, quirk.about.replace("|", "\\|"), quirk.report or "—") for name, quirk in QUIRKS.items()
    ]
