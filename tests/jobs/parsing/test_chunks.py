from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Permanent
from jobs.parsing.chunks import chunk_pages, split
from jobs.parsing.cleaning import clean
from jobs.parsing.ocr import can_read
from jobs.parsing.pdf import extract

PAPERS = Path(__file__).resolve().parents[3].parent / "shared" / "papers"
WORDS = [
    "grain",
    "mills",
    "Dr",
    "e.g",
    "3.14",
    "U",
    "...",
    "?!",
    '"quoted."',
    "(see",
    "4)",
    "–",
    "。",
    "漢字",
    "😀",
    "<|endoftext|>",
]
SENTENCES = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=30).map(lambda words: " ".join(words) + "."), max_size=20
)
PROSE = SENTENCES.map(" ".join)
ANY_TEXT = PROSE | st.text() | st.tuples(PROSE, st.text(), PROSE).map("\n\n".join)


def llama_index_chunks(text: str, chunk_size: int, chunk_overlap: int) -> list[str]:
    """What LlamaIndex's splitter makes of it, with its own sentence tokenizer but without its stop-word list."""
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.core.node_parser.text.utils import split_by_sentence_tokenizer_internal
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    splitter = SentenceSplitter(
        chunk_size=chunk_size,
        chunk_overlap=chunk_overlap,
        chunking_tokenizer_fn=lambda part: split_by_sentence_tokenizer_internal(part, PunktSentenceTokenizer()),
    )
    return splitter.split_text(text)


def our_chunks(text: str, chunk_size: int, chunk_overlap: int) -> list[str]:
    spans = split(text, chunk_size=chunk_size, chunk_overlap=chunk_overlap)
    return [text[start:end] for start, end in spans]


@given(ANY_TEXT.map(clean), st.sampled_from([(8, 0), (8, 8), (16, 5), (64, 20), (256, 50)]))
def test_chunks_are_those_of_llama_index(text: str, sizes: tuple[int, int]) -> None:
    """For every cleaned text and size, the same chunks as `SentenceSplitter`'s."""
    if text:
        assert our_chunks(text, *sizes) == llama_index_chunks(text, *sizes)


@pytest.mark.slow
@pytest.mark.papers
def test_real_papers_chunk_as_in_llama_index() -> None:
    """At the default size and at the demo's, for every example paper with text, Arabic and Korean too."""
    compared = 0
    for path in [*sorted((PAPERS / "good").glob("*.pdf")), *sorted((PAPERS / "nasty").iterdir())]:
        try:
            text = "\n\n".join(page for page in extract(str(path)).pages if page)
        except Permanent:
            continue
        for sizes in ((1024, 200), (256, 32)):
            assert our_chunks(text[:60_000], *sizes) == llama_index_chunks(text[:60_000], *sizes), path.name
        compared += 1
    assert compared == 25 + can_read()  # one is a scan


@given(st.lists(ANY_TEXT.map(clean), min_size=1, max_size=6), st.sampled_from([(8, 0), (16, 5), (64, 20)]))
def test_pages_cover_the_chunk(pages: list[str], sizes: tuple[int, int]) -> None:
    """A chunk's words stand on its pages, its first word on the first and its last on the last."""
    size, overlap = sizes
    for piece in chunk_pages(pages, chunk_size=size, chunk_overlap=overlap):
        assert 1 <= piece.page_first <= piece.page_last <= len(pages)
        assert piece.text.split()[0] in pages[piece.page_first - 1]
        assert piece.text.split()[-1] in pages[piece.page_last - 1]
        touched = pages[piece.page_first - 1 : piece.page_last]
        assert "".join(piece.text.split()) in "".join("".join(page.split()) for page in touched)


@given(ANY_TEXT.map(clean))
def test_nothing_is_lost(text: str) -> None:
    """Without overlap the chunks, joined, are the text."""
    assert "".join("".join(our_chunks(text, 16, 0)).split()) == "".join(text.split())


def test_pages_count_from_one_and_empty_ones_count() -> None:
    """An unreadable page has a number too."""
    pieces = chunk_pages(["First page here.", "", "Third page here."], chunk_size=5, chunk_overlap=0)
    assert [(piece.text, piece.page_first, piece.page_last) for piece in pieces] == [
        ("First page here.", 1, 1),
        ("Third page here.", 3, 3),
    ]


def test_a_sentence_flows_over_the_page() -> None:
    """Where a page ends in mid-sentence there is a space, not a paragraph; the chunk names both pages."""
    (piece,) = chunk_pages(["It begins here and", "ends there. A heading", "The text"], chunk_size=99, chunk_overlap=0)
    assert piece.text == "It begins here and ends there. A heading\n\nThe text"
    assert (piece.page_first, piece.page_last) == (1, 3)


def test_neighbours_overlap_in_whole_sentences() -> None:
    """The next chunk starts with the last sentences of the one before, as many as fit the overlap."""
    text = " ".join(f"Sentence number {number}." for number in range(12))
    chunks = our_chunks(text, 20, 10)
    for before, after in pairwise(chunks):
        shared = [sentence for sentence in after.split(". ") if sentence.rstrip(".") in before]
        assert shared
        assert before.rstrip(".").endswith(". ".join(shared).rstrip("."))


def test_no_text_has_no_chunks() -> None:
    """Empty pages give nothing."""
    assert chunk_pages(["", ""], chunk_size=10, chunk_overlap=0) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no spaces", "x" * 200_000),
        ("signs without spaces", "あ" * 100_000),
        ("no sentences", "word " * 100_000),
        ("phrases", "1,2," * 50_000),
        ("dots", ". " * 50_000),
    ],
)
def test_endless_text_is_cut_in_bounded_time(name: str, text: str) -> None:
    """Text without sentences, words or spaces costs seconds, not minutes, and no chunk grows with it."""
    start = time.process_time()
    pieces = chunk_pages([text], chunk_size=1024, chunk_overlap=200)
    assert time.process_time() - start < 20
    assert max(len(piece.text) for piece in pieces) < 20_000


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: our_chunks("text", 10, 11), "chunk_overlap"),
        (lambda: our_chunks("😀🏴", 1, 0), "chunk_size"),
    ],
)
def test_impossible_sizes_are_refused(call: Callable[[], object], match: str) -> None:
    """With the setting that has to change."""
    with pytest.raises(ValueError, match=match):
        call()
