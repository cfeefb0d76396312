"""A question that does not say what it is about is given the title of its paper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.generation.subjects import impersonal, named, without_paper

TITLE = "SPECTER: Representation Learning using Citations"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What was the negative control in the study?", f"What was the negative control in “{TITLE}”?"),
        ("What does the present paper show?", f"What does the present paper “{TITLE}” show?"),
        ("Why did the authors use a linear SVM?", f"Why did the authors of “{TITLE}” use a linear SVM?"),
        ("What is a linear warmup?", f"In “{TITLE}”, what is a linear warmup?"),
        ("Welche Rate hat es?", f"“{TITLE}”: Welche Rate hat es?"),
        ("What are the authors' tasks?", f"In “{TITLE}”, what are the authors' tasks?"),
        ("What are the inputs of SPECTER?", "What are the inputs of SPECTER?"),
        ("How do citations help learning a representation?", "How do citations help learning a representation?"),
        ("How are the BERT and GPT citations used?", f"In “{TITLE}”, how are the BERT and GPT citations used?"),
        ("What do citations give?", f"In “{TITLE}”, what do citations give?"),
        ("What is this paperwork for?", f"In “{TITLE}”, what is this paperwork for?"),
    ],
)
def test_a_title_where_one_is_needed(question: str, expected: str) -> None:
    """The name that the paper gives to its work, or three words of the title, say enough; "the study" and "the authors" become those of the title."""
    assert named(question, TITLE) == expected


def test_titles_as_they_are_printed() -> None:
    """Capitals, quotation marks and a stop at the end are the printer's; without a title a question stays."""
    assert named("What is it?", "“ON THE MILL.”") == "In “On the mill”, what is it?"
    assert named("What is it?", "") == "What is it?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We dried our samples.", "The authors dried their samples."),
        ("Our samples tell us more.", "The authors’ samples tell the authors more."),
        ("In the US, houses are used.", "In the US, houses are used."),
    ],
)
def test_no_reader_is_we(text: str, expected: str) -> None:
    """Whoever reads an answer is not among those who wrote the paper."""
    assert impersonal(text) == expected


@pytest.mark.parametrize(
    ("title", "question", "enough"),
    [
        ("AlphaFold and Proteins", "What does AlphaFold do?", True),
        ("On Mills - Why JaxNRSur Is Fast", "What is JaxNRSur?", True),
        ("A Very Long Head of a Title: Mills", "What is a very long mill?", False),
        ("HIV-1 and Ocimum", "What does the extract do to HIV-1?", False),
    ],
)
def test_a_coined_name_is_enough(title: str, question: str, enough: bool) -> None:
    """Other names are of many papers."""
    assert (named(question, title) == question) is enough


def test_what_a_title_replaces_is_no_fault() -> None:
    """The checks see the text without the paper and its authors, and everything else of it."""
    assert without_paper("Why did the authors of the study use the authors’ mill?").split() == [
        "Why",
        "did",
        "use",
        "mill?",
    ]


@given(st.text(max_size=80), st.text(max_size=40))
def test_nothing_of_a_question_is_lost(question: str, title: str) -> None:
    """Whatever the texts are, the title is added or the question stays as it is."""
    said = named(question, title)
    assert said == question or "“" in said
    assert len(said) >= len(question) - len("this present article")
