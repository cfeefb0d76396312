from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.tokenize.punkt import PunktSentenceTokenizer

from jobs.parsing import sentences
from jobs.parsing.punkt import untrained_punkt
from jobs.parsing.sentences import any_sentence_starts, sentence_starts

WORDS = "a Bc d E 7 42 3.5 1,000 2-3 foo Bar e.g state-of-the-art x² ² ½ é ʰ ⅰ 漢字 α Ž".split()
MARKS = [*"([{\"'‘“«»”’)]}.?!:;,@*&#`_-。\u0301", "--", "...", " ", "\n", "\n\n"]
# Marks and blanks stand where they mean something more often than chance would have it.
TEXTS = st.lists(st.sampled_from([*WORDS, *MARKS, *[".", " "] * 12]), max_size=40).map("".join)


def punkt_starts(text: str) -> list[int]:
    return [start for start, _ in PunktSentenceTokenizer().span_tokenize(text)]


@given(TEXTS)
def test_sentences_start_where_punkt_says(text: str) -> None:
    """For every text whose white space is blanks and line feeds."""
    assert sentence_starts(text) == punkt_starts(text)


@given(st.text())
def test_any_text_is_left_to_punkt(text: str) -> None:
    """Whatever its white space is."""
    assert any_sentence_starts(text) == punkt_starts(text)


@pytest.mark.parametrize(
    "text",
    [
        "It ends here. It goes on.",
        "(It ends here.) [It] goes on (so). And on!",
        "state-of-the-art. AlphaFold2. Next? (Yes.)",
        "See Fig. 3. of 12. And 3.5. But J. Bach and E. coli, 5 a. 7 b. 9",
    ],
)
def test_common_text_needs_no_punkt(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What most papers consist of is decided here, and as Punkt does."""
    expected = punkt_starts(text)
    monkeypatch.setattr(sentences, "_punkt_says", None)
    assert sentence_starts(text) == expected


def test_punkt_keeps_nothing() -> None:
    """A worker that reads a million papers does not grow with their words."""
    for number in range(100):
        any_sentence_starts(f"A x{number}. B")
    _, memory = untrained_punkt()
    assert len(memory.ortho_context) < 10
