from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import pytest
from formats_made import MADE, epub

from engine.errors import BadInput, Permanent
from jobs.parsing.extracted import Extracted
from jobs.parsing.find import find_papers
from jobs.parsing.parsers import AUTO, PARSERS, Options, choose, load

# Every line of the table: the endings of its files, and how one begins whose name does not tell.
TABLE = {
    "pdf": ([".pdf"], b"%PDF-1.7\n"),
    "markdown": ([".md", ".markdown"], b""),
    "html": ([".html", ".htm", ".xhtml"], b"\n<!DOCTYPE html>\n<html>"),
    "jats": ([".xml", ".nxml"], b'<?xml version="1.0"?>\n<!DOCTYPE article PUBLIC "x" "y"><article>'),
    "latex": ([".tex", ".ltx"], b"% a comment\n\\documentclass[11pt]{article}\n"),
    "epub": ([".epub"], epub({})[:100]),
    "docx": ([".docx"], b""),
    "text": ([".txt", ".text"], b""),
    "jsonl": ([".jsonl", ".ndjson"], b""),
}


def test_the_table_is_whole() -> None:
    """Each parser that is promised stands in the table, with its endings, and can be imported."""
    assert {name: list(entry.suffixes) for name, entry in PARSERS.items()} == {
        name: suffixes for name, (suffixes, _) in TABLE.items()
    }
    for name in TABLE:
        assert callable(load(name))


@pytest.mark.parametrize("name", MADE)
def test_each_parser_reads_its_own_kind(name: str) -> None:
    """A small file of every kind, chosen by its name, gives its text; all have the same words."""
    path, made = MADE[name]
    data = made()
    assert choose(AUTO, path, data) == name
    extracted = load(name)(data, path, Options())
    assert "Flour leaves at the rim" in " ".join(extracted.pages).replace("\n", " ")
    assert extracted.title == ("" if name == "text" else "How a Mill Grinds")
    assert extracted.paged == (name == "pdf")
    assert set(MADE) == set(PARSERS)


def test_every_ending_leads_to_one_parser() -> None:
    """No ending is named twice, and each is in small letters with a dot before."""
    endings = [suffix for entry in PARSERS.values() for suffix in entry.suffixes]
    assert len(set(endings)) == len(endings)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in endings)


@pytest.mark.parametrize("name", TABLE)
def test_a_file_is_known_by_its_ending_or_by_its_beginning(name: str) -> None:
    """The ending decides, in capitals too; a file without a known one is looked at."""
    suffixes, head = TABLE[name]
    assert {choose(AUTO, f"/papers/a b{suffix.upper()}", b"anything") for suffix in suffixes} == {name}
    if head:
        assert choose(AUTO, "/papers/10.1000_182", head) == name


def test_a_named_parser_reads_whatever_it_is_given() -> None:
    """A name in the configuration is not second-guessed."""
    assert choose("pdf", "/papers/a.md", b"# A") == "pdf"


def test_a_kind_that_no_parser_reads_is_a_counted_failure() -> None:
    """Neither ending nor beginning known: "unsupported", with the ending."""
    with pytest.raises(Permanent, match=r"no parser reads this kind of file \(\.ps\)") as caught:
        choose(AUTO, "/papers/a.ps", b"%!PS-Adobe-3.0")
    assert caught.value.kind == "unsupported"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with a parser that stands outside the package."""
    (tmp_path / "own_parser.py").write_text(
        dedent("""
        from jobs.parsing.extracted import Extracted

        SUFFIXES = (".srt",)

        def read(data, path, options):
            return Extracted(title="", pages=[data.decode()], paged=False)
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_parser", raising=False)
    return "own_parser:read"


def test_a_parser_of_ones_own_is_named_by_module_and_function(own: str, tmp_path: Path) -> None:
    """It is imported by its name, and the files that it reads are those of its module's SUFFIXES."""
    (tmp_path / "a.srt").write_text("words")
    (tmp_path / "a.pdf").write_text("words")
    assert [place.path.name for place in find_papers([tmp_path], parser=own)] == ["a.srt"]
    extracted = load(choose(own, "a.srt", b""))(b"words", "a.srt", None)  # type: ignore[arg-type]
    assert extracted == Extracted(title="", pages=["words"], paged=False)


@pytest.mark.parametrize(("name", "complaint"), [("no_such:read", "cannot be imported"), ("os:read_it", "no function")])
def test_a_parser_that_is_not_there_is_bad_input(name: str, complaint: str) -> None:
    """One line says what is wrong with the name."""
    with pytest.raises(BadInput, match=complaint):
        load(name)
