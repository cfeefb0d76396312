from __future__ import annotations

import pytest

from jobs.parsing.cleaning import clean
from jobs.parsing.ligatures import restore_words

BROKEN_TH = (
    "Te mill grinds. Tis is the mill, and these are the stones of the miller. Te stones, they say, turn. Tey turn. "
    "Te water falls. Ten times they turned, and ten times this mill stood. Tables tell."
)


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("an e\ufffdective and \ufffdrst con\ufffdguration", "an effective and first configuration"),
        ("e\x0bective, con\x0cned, e\x0ecient", "effective, confined, efficient"),  # TeX's codes
        ("\ufffdor \ufffdexp x\ufffdy", "or exp xy"),  # a sign before a whole word is none of its letters
        ("Th e mill, Th is one. Th ere", "The mill, This one. There"),
        ("ﬁ brin, ﬁ rst, diﬀ erent, staﬀ education", "fibrin, first, different, staff education"),
        ("the fi rst and fi nal signifi cant fl ow of fi ve", "the first and final significant flow of five"),
        ("the sci fi film and the hi fi set", "the sci fi film and the hi fi set"),
    ],
)
def test_words_that_lost_a_ligature(printed: str, text: str) -> None:
    """What a font or a blank did to a word is undone where the word is known, and only there."""
    assert clean(printed) == text


def test_a_document_whose_th_came_out_as_t() -> None:
    """Each word follows the document's own small letters; what has a "t" of its own keeps it."""
    text = clean(BROKEN_TH)
    assert text.startswith("The mill grinds. This is the mill, and these")
    assert "The stones, they say, turn. They turn. The water" in text
    assert "Ten times" in text
    assert "Tables tell" in text


def test_a_document_with_its_th_is_left_alone() -> None:
    """A foreign "Te" here and there proves nothing."""
    text = "The mill. The stones. Te is a symbol, Te a word. The rest of the Te samples. The end."
    assert clean(text) == text


def test_ligatures_that_left_no_trace() -> None:
    """In a long text without any, words that are none get the ligature that makes them one."""
    words = ["signicant", "rst", "dened", "ecient", "specic", "unknowables"]
    text = " ".join([*words, *["sentence number grinding water"] * 300])
    assert restore_words([text])[0].split()[:6] == [
        "significant",
        "rst",
        "defined",
        "efficient",
        "specific",
        "unknowables",
    ]
    assert restore_words([f"final {text}"]) == [f"final {text}"]
