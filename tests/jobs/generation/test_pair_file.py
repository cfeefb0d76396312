from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadInput, Permanent
from jobs.generation.pair_file import GivenPair, check_pairs, read_pairs

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: bool(text.strip()))


def written(folder: Path, *lines: Any, name: str = "pairs.jsonl") -> Path:
    """A file with these lines, each an object or what stands there as it is."""
    path = folder / name
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(raw) + b"\n")
    return path


def test_lines(tmp_path: Path) -> None:
    """Every name of a field is read, contexts may be one or a list, other fields and blank lines are left alone."""
    path = written(
        tmp_path,
        {"question": " What? ", "answer": "This.", "score": 3},
        {"query": "Who?", "response": "She.", "contexts": ["One.", " ", "Two."], "paper": "On Mills"},
        b"   ",
        {"query": "When?", "reference": "Then.", "context": "One."},
        {"question": "Why?", "answer": "So.", "contexts": None},
    )
    assert list(read_pairs(path)) == [
        ("line 1", GivenPair(question="What?", answer="This.")),
        ("line 2", GivenPair(question="Who?", answer="She.", contexts=("One.", "Two."), paper="On Mills")),
        ("line 4", GivenPair(question="When?", answer="Then.", contexts=("One.",))),
        ("line 5", GivenPair(question="Why?", answer="So.")),
    ]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"{", "not_json"),
        (b'{"question": "\xff", "answer": "a"}', "not_json"),
        (b'{"question": "\\ud800", "answer": "a"}', "not_json"),
        (b"[" * 5000, "not_json"),
        (b'"text"', "not_json"),
        (b"null", "not_json"),
        ({"answer": "a"}, "no_question"),
        ({"question": " \n", "answer": "a"}, "no_question"),
        ({"question": 7, "answer": "a"}, "no_question"),
        ({"question": "q"}, "no_answer"),
        ({"question": "q", "answer": None}, "no_answer"),
        ({"question": "q", "answer": "a", "contexts": "text"}, "bad_contexts"),
        ({"question": "q", "answer": "a", "contexts": ["text", 7]}, "bad_contexts"),
        ({"question": "q", "answer": "a", "context": ["text"]}, "bad_contexts"),
    ],
)
def test_bad_lines(line: Any, kind: str, tmp_path: Path) -> None:
    """A line that is no pair fails by itself, with a reason; the others are read."""
    good = {"question": "q", "answer": "a"}
    found = dict(read_pairs(written(tmp_path, good, line, good)))
    bad = found["line 2"]
    assert isinstance(bad, Permanent)
    assert bad.kind == kind
    assert str(bad)
    assert found["line 1"] == found["line 3"] == GivenPair(question="q", answer="a")


@given(pairs=st.lists(st.tuples(TEXTS, TEXTS)))
def test_llama_indexs_dataset(pairs: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """What LlamaIndex saves as a QueryResponseDataset is read, pair by pair."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.json"
    with warnings.catch_warnings(record=True):  # the class warns of itself on every use, past every filter
        from llama_index.core.evaluation import QueryResponseDataset

        QueryResponseDataset.from_qr_pairs(pairs).save_json(str(path))
    expected = [GivenPair(question=question.strip(), answer=answer.strip()) for question, answer in pairs]
    assert [pair for _, pair in read_pairs(path)] == expected


def test_a_dataset_with_gaps(tmp_path: Path) -> None:
    """A query without a response, or the reverse, fails by itself."""
    path = written(tmp_path, {"queries": {"a": "q", "b": "q"}, "responses": {"a": "r", "c": "r"}}, name="pairs.json")
    kinds = {place: getattr(pair, "kind", "") for place, pair in read_pairs(path)}
    assert kinds == {"query a": "", "query b": "no_answer", "query c": "no_question"}


def test_a_list(tmp_path: Path) -> None:
    """A JSON document may be a list of pairs."""
    path = written(tmp_path, [{"question": "q", "answer": "a"}, 7], name="pairs.json")
    (first, pair), (second, bad) = read_pairs(path)
    assert (first, pair, second) == ("item 1", GivenPair(question="q", answer="a"), "item 2")
    assert isinstance(bad, Permanent)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("pairs.json", b"", "is not JSON"),
        ("pairs.json", b'{"question": "q", "answer": "a"}\n{}', "a file of JSON lines is to be named .jsonl"),
        ("pairs.json", b'{"question": "q", "answer": "a"}', "is no QueryResponseDataset"),
        ("pairs.json", b"[]", "holds no pair of question and answer"),
        ("pairs.jsonl", b"", "holds no pair of question and answer"),
        ("pairs.jsonl", b"{}\n7", "that can be read: line 1: it has no text as question or query"),
        ("paper.pdf", b"%PDF-1.7\xff", "is not JSON"),
    ],
)
def test_files_without_a_pair(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    """A file in which nothing can be read is one line that says why."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        check_pairs(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file, or a folder, is one line."""
    with pytest.raises(BadInput, match=r"cannot read the pairs in .*nowhere\.jsonl: No such file"):
        check_pairs(tmp_path / "nowhere.jsonl")
    with pytest.raises(BadInput, match="Is a directory"):
        check_pairs(tmp_path)
