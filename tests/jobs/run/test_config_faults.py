from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from jobs.run import configfile


def fault(table: dict[str, Any]) -> str:
    with pytest.raises(BadInput) as caught:
        configfile.validate(table)
    return str(caught.value)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"ask": {"questions_per_chunk": "x"}}, 'ask.questions_per_chunk = "x": it must be a whole number, above 0'),
        (
            {"ask": {"recipe": "foo"}},
            'ask.recipe = "foo": it must be "auto" or "llama-index" or "grounded" or "evidence"',
        ),
        (
            {"models": {"base": {"temperature": "hot"}}},
            'models.base.temperature = "hot": it must be a number or "default"',
        ),
        ({"split": {"train": 2}}, "split.train = 2: it must be a number, at least 0 and at most 1"),
        ({"curate": {"round_trip": []}}, 'curate.round_trip = []: it must be true or false or "auto"'),
        ({"evaluate": {"metrics": "x"}}, 'evaluate.metrics = "x": it must be a list of texts'),
        ({"ask": 3}, "ask = 3: it must be a section, with keys of its own"),
        ({"models": {"judge": {"model": ""}}}, 'models.judge.model = "": it must be a text that is not empty'),
        ({"prices": {"a.b": {"input_usd_per_million": -1}}}, 'prices."a.b".input_usd_per_million = -1: it must be'),
        ({"models": {"candidates": {"x": {"modell": "a"}}}}, "did you mean models.candidates.x.model?"),
        ({"parse": {"chunk_size": 9, "chunk_overlap": 9}}, "configuration: parse.chunk_overlap must be smaller"),
    ],
)
def test_one_line_of_what_is_allowed(table: dict[str, Any], line: str) -> None:
    """A mistake names the key, the value and what it may be, once, and in no words of the library's."""
    said = fault(table)
    assert line in said
    assert "Input should" not in said
    assert "Value error" not in said
    assert said.count("configuration: ") == 1


def test_a_secret_is_not_repeated() -> None:
    """A value that may hold a secret is refused without being quoted."""
    assert "hunter2" not in fault({"models": {"base": {"base_url": "http://me:hunter2@host/v1"}}})
    assert "sk-1" not in fault({"models": {"base": {"api_key_env": "sk-1-secret"}}})


def test_the_file_and_the_flag_are_named(tmp_path: Path) -> None:
    """A mistake in a file names the file, one on the command line the flag."""
    path = tmp_path / "mill.toml"
    path.write_text("[ask]\nquestions_per_chunk = 0\n", "utf-8")
    assert fault(configfile.load(path)).startswith(f"{path}: ask.questions_per_chunk = 0: ")

    path.write_text("", "utf-8")
    table = configfile.load(path)
    configfile.assign(table, ["split.train=7"])
    assert fault(table).startswith("--set split.train=7: split.train = 7: ")


@pytest.mark.parametrize("text", ["\ufeff[ask]\nquestions_per_chunk = 7\n", "[ask]\r\nquestions_per_chunk = 7\r\n"])
def test_files_of_windows(tmp_path: Path, text: str) -> None:
    """A byte order mark and lines that end in CR LF are read like any other file."""
    path = tmp_path / "mill.toml"
    path.write_bytes(text.encode())
    assert configfile.validate(configfile.load(path)).ask.questions_per_chunk == 7
