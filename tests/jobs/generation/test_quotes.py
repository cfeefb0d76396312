"""Answers that quote: what stands in the chunk is told from what does not, and where it stands is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import chunk, processed, question

from engine.errors import Permanent
from engine.job import ShardRows
from engine.testing import scripted
from jobs.generation.answer import answer
from jobs.generation.quotes import find_quote, read_quoted
from jobs.models.chat import Malformed

QUOTES = json.loads((Path(__file__).parent / "quotes.json").read_text("utf-8"))
TEXT = QUOTES["text"]


def test_true_and_altered_quotes_are_told_apart() -> None:
    """Of 20 quotes the 15 true ones are found and the 5 altered ones are not: a number, a negation, an order, a letter."""
    assert (len(QUOTES["true"]), len(QUOTES["altered"])) == (15, 5)
    assert [quote for quote in QUOTES["true"] if find_quote(quote, TEXT) is None] == []
    assert [quote for quote in QUOTES["altered"] if find_quote(quote, TEXT) is not None] == []


def test_offsets_are_of_the_chunks_own_text() -> None:
    """What stands between the offsets is the quote, with the chunk's line breaks and ligatures."""
    [quote] = read_quoted("<quote>The refined model answers 41.5 % of the questions</quote> 41.5 %.", TEXT).quotes
    assert TEXT[quote.start : quote.end] == "The reﬁned model answers 41.5 % of the\nquestions"
    assert quote.text == "The refined model answers 41.5 % of the questions"


@pytest.mark.parametrize(
    "quote", ["41", "1.5 %", "answers 41", "rained", "Training took 1", "4 car", "28 % We", "  ", "."]
)
def test_no_word_or_number_is_cut(quote: str) -> None:
    """A quote that begins or ends within a word or a number says something else, and a blank one nothing."""
    assert find_quote(quote, TEXT) is None


def test_the_stops_at_its_end_do_not_count() -> None:
    """However many stops end a quote, with or without spaces between, what stands before them is found, and only that."""
    for quote in ("frozen.", "frozen . .", "frozen;:", "frozen ,"):
        found = find_quote(quote, "It is frozen . . And so on.")
        assert found == (6, 12)


@given(words=st.lists(st.text("abß1.,é", min_size=1, max_size=5), min_size=1, max_size=12), data=st.data())
def test_whole_words_are_always_found(words: list[str], data: st.DataObject) -> None:
    """Any run of whole words is found, however its white space is changed, at offsets that hold just it."""
    first = data.draw(st.integers(0, len(words) - 1))
    chosen = words[first : data.draw(st.integers(first + 1, len(words)))]
    quote = " ".join(chosen).rstrip(".,;: ")
    found = find_quote(" \n".join(chosen), "\n".join(words))
    if quote:
        assert found is not None
        assert " ".join("\n".join(words)[slice(*found)].split()) == quote


def test_marks_become_quotation_marks() -> None:
    """The answer reads as prose: its quotes stand in quotation marks."""
    read = read_quoted("It says <quote>only the decoder\n is trained</quote>, so the encoder stays.", TEXT)
    assert read.answer == "It says “only the decoder is trained”, so the encoder stays."
    two = read_quoted("<quote>facts are rare</quote> <quote>decayed to 0</quote> Both.", TEXT)
    assert [quote.text for quote in two.quotes] == ["facts are rare", "decayed to 0"]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("It is frozen.", "quotes nothing"),
        ("<quote> </quote> It is frozen.", "quotes nothing"),
        ("<quote>the encoder is frozen</quote> .", "nothing of its own"),
        ("<quote>the encoder is frozen</quote> So <quote>it is.", "one </quote>"),
        ("<quote>the encoder is warm</quote> So it is.", "“the encoder is warm” does not stand in the context"),
    ],
)
def test_what_is_told_to_the_model(reply: str, said: str) -> None:
    """Each fault names itself, so that the model can mend it."""
    with pytest.raises(Malformed, match=said):
        read_quoted(reply, TEXT)


SHARD = ShardRows(
    0, {"questions": [question("q", chunk="c", text="What is frozen?")], "chunks": [chunk("c", text=TEXT)]}
)
GOOD = "<quote>the encoder is frozen</quote> The encoder is."
BAD = "<quote>the encoder is fixed</quote> The encoder is."


async def test_a_quote_is_repaired_once() -> None:
    """A quote that is not in the chunk is shown to the model; what it mends is kept, with its offsets."""
    job = answer(max_tokens=100, quotes=True, fingerprint={}, slots=1)
    call = scripted(BAD, GOOD)
    [pair] = await processed(job, SHARD, call)
    assert pair.answer == "“the encoder is frozen” The encoder is."
    assert [TEXT[quote.start : quote.end] for quote in pair.quotes] == ["the encoder is frozen"]
    assert TEXT in call.requests[0].messages[0]["content"]
    assert "“the encoder is fixed” does not stand in the context" in call.requests[1].messages[-1]["content"]


async def test_and_then_dropped() -> None:
    """After one repair the question fails, under a kind of its own that is counted."""
    job = answer(max_tokens=100, quotes=True, fingerprint={}, slots=1)
    [failed] = await processed(job, SHARD, scripted(BAD, BAD))
    assert isinstance(failed, Permanent)
    assert failed.kind == "unfaithful_quote"
    assert "after 1 repair: “the encoder is fixed”" in str(failed)


async def test_a_draft_quotes_its_evidence() -> None:
    """A draft of the evidence recipe costs no request: the sentence that it was written from is its quote."""
    job = answer(max_tokens=100, quotes=True, fingerprint={}, slots=1)
    for text, expected in (("Facts. A  sentence. More.", "“A sentence.” A seal."), ("Nothing.", "")):
        asked = question("q", chunk="c", draft="A seal.")
        [made] = await processed(
            job, ShardRows(0, {"questions": [asked], "chunks": [chunk("c", text=text)]}), scripted()
        )
        assert (made.answer if expected else made.kind) == (expected or "unfaithful_quote")
