"""Which sentences of a chunk are worth asking about, and which of them are the best."""

from __future__ import annotations

import pytest
from checkpoint_chunk import BYTE, CHUNK, CRASH, GROUPED
from hypothesis import given
from hypothesis import strategies as st

from jobs.generation.evidence import best_sentences, sentences, worth_asking


def test_sentences_end_where_a_reader_ends_them() -> None:
    """Abbreviations, initials and numbers end no sentence; an empty line does."""
    text = "As Smith et al. Show, J. R. Doe (cf. Fig. 2) saw 3.5 K. It was\ncold! Why?\n\nA heading\n\nMore."
    assert sentences(text) == [
        "As Smith et al. Show, J. R. Doe (cf. Fig. 2) saw 3.5 K. It was cold!",
        "Why?",
        "A heading",
        "More.",
    ]


def test_only_sentences_that_stand_for_themselves_are_worth_asking() -> None:
    """Headings, "This …" and what points at a figure are left out; the others keep their order."""
    assert worth_asking(CHUNK) == [BYTE, CRASH, GROUPED]


@pytest.mark.parametrize(
    "sentence",
    [
        "It was then used by all of the teams in the group for many years.",
        "However, this makes the whole of the method slower than the others are.",
        "In this way, the method is much slower than the methods of all the others are.",
        "Sect. 3 gives the bounds of the method and all of their proofs in order.",
        "The results of the ablation are shown in Table 2 for all of the models.",
        "Let f(x) = a x + b y + c z be the loss, so that g h i j k follow from it.",
        "The accuracies were 12.5 13.7 14.8 15.9 16.0 17.1 18.2 19.3 20.4 and 21.5.",
        "Copyright is held by the authors of the article and by nobody else in law.",
        "Kurtoglu M, Yanar H, Bilsel Y: Venous thromboembolism prophylaxis after head trauma in adults.",
        "the sentence begins in the middle because the chunk was cut within a long one.",
        "Too short a sentence.",
        "A sentence that has no end because the page or the chunk ended in the middle of",
    ],
)
def test_what_a_reader_could_not_be_asked_about_is_left_out(sentence: str) -> None:
    """Unresolved words, pointers, formulas, numbers, front matter, references and fragments are no evidence."""
    assert worth_asking(sentence) == []


def test_a_citation_within_a_sentence_is_no_reference() -> None:
    """A sentence that ends in a citation is still prose."""
    sentence = "Edge computing brings the storage of data nearer to the users of it (Alwarafy et al., 2020)."
    assert worth_asking(sentence) == [sentence]


def test_a_list_of_references_is_not_asked_about() -> None:
    """Titles in a bibliography are whole sentences, but nothing to ask about."""
    text = """Trivedi, H. and Khot, T. 2022. Interleaving retrieval with reasoning for multi-step questions of all kinds.
    In Proceedings of ACL, 10:539-554. Yang, A. and Hui, B. 2024. Large language models are better reasoners now."""
    assert worth_asking(text) == []


def test_the_best_sentences_in_their_order() -> None:
    """What the title speaks of, a name, a number or a reason makes a sentence better; "we" and "their" do not."""
    assert best_sentences(CHUNK, "", 1) == [CRASH]
    assert best_sentences(CHUNK, "Grouped commits", 1) == [GROUPED]
    assert best_sentences(CHUNK, "Grouped commits", 2) == [CRASH, GROUPED]
    assert best_sentences(CHUNK, "", 5) == [BYTE, CRASH, GROUPED]
    assert best_sentences(CHUNK, "", 1, besides=[CRASH]) == [GROUPED]
    plain = "The mill grinds the grain of the village in the autumn."
    for better, worse in (
        ("The mill grinds 42 kg of grain of the village in the autumn.", plain),
        ("The mill Ajax grinds the grain of the village in the autumn.", plain),
        ("The mill grinds the grain because the village eats in the autumn.", plain),
        (plain, "In the autumn we grind the grain of the village in the mill."),
        (plain, "The mill grinds their grain of the village in the autumn."),
    ):
        assert best_sentences(f"{worse} {better}", "", 1) == [better]
        assert best_sentences(f"{better} {worse}", "", 1) == [better]


@given(st.text(max_size=400), st.text(max_size=20), st.integers(1, 5))
def test_any_text_has_sentences_or_none(text: str, title: str, count: int) -> None:
    """No text breaks the choice, and every chosen sentence stands in the text."""
    found = best_sentences(text, title, count)
    assert len(found) <= count
    joined = " ".join(text.split())
    assert all(sentence in joined for sentence in found)
