from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.parsing.cleaning import clean, clean_pages, is_plain, letters_and_digits

NASTY = (
    st.text(alphabet=st.sampled_from("ab Zé-‐\u00ad\n\r\t\f.,´¨˜ıuAﬁﬆ1 \u200b\u200c\u202e\ue000\ud800\ufffd\u2029نم"))
    | st.text()
)


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("for exam-\nple here", "for example here"),
        ("for exam-  \n  ple here", "for example here"),
        ("for exam\u2010\nple here", "for example here"),
        ("for exam\u00ad\nple, soft hy\u00adphen", "for example, soft hyphen"),
        ("for exam-\n\nple here", "for example here"),  # the line ended a block
        ("state-of-\nthe-art", "state-of-the-art"),
        ("state-\nof-the-art", "state-of-the-art"),
        ("Gauss-\nNewton", "Gauss-Newton"),
        ("GPT-\n4 and top-\n15", "GPT-4 and top-15"),
        ("fine-tuning is fine-\ntuning", "fine-tuning is fine-tuning"),  # this text writes it so
        ("finetuning is fine-\ntuning", "finetuning is finetuning"),
        (
            "a low value, a matrix rank, high-\nrank and rank of high",
            "a low value, a matrix rank, high-rank and rank of high",
        ),
        ("experi-\nmental and mental", "experimental and mental"),  # "experi" is no word
        ("stress, and stress-\nrelated", "stress, and stress-related"),  # two words, and no known one
        (
            "pheno-\nlogical, one inter-\nsection of inter and section",
            "phenological, one intersection of inter and section",
        ),
        ("a note at the end of corres-\n\n8 Note", "a note at the end of corres-\n\n8 Note"),
        ("- item\n- item", "- item - item"),
        ("bar-\nbaz-\nqux, baz-qux", "bar-baz-qux, baz-qux"),  # each break by itself
        ("x -\ny", "x - y"),
    ],
)
def test_words_broken_at_line_ends(printed: str, text: str) -> None:
    """Hyphens that only the line end made go; those that belong to the word stay."""
    assert clean(printed) == text


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("ﬁne ﬂow aﬀect eﬃcient waﬄe ﬅ ﬆ", "fine flow affect efficient waffle st st"),
        ("a\x00b\x07c\x7fd\x9fe", "abcde"),
        ("a\ue000b\uf8ffc\U000f0001d\U0010fffde", "abcde"),
        ("a\ud800b\udfffc", "abc"),
        ("a\ufffdb\uffffc\ufdd0d\U0001fffee", "abcde"),
        ("a\u200bb\ufeffc\u202ed\u2066e\u2069", "abcde"),
        ("ig\U000e0069\U000e0067nore\ufe0f", "ignore"),  # text hidden in tags and variation selectors
        ("in\u200cvisible می\u200cخواهم", "invisible می\u200cخواهم"),  # Persian needs it, English does not
        ("e\u0301tude", "étude"),
        ("Jos´e Mart´ınez, Itˆo, espa˜nol", "José Martínez, Itô, español"),
        ("x² ≤ ½ µm", "x² ≤ ½ µm"),  # not NFKC: squares stay squares
        ("a\u00a0b\u2009c\td", "a b c d"),
        ("left " + "X9" * 5000 + " right", "left right"),
        ("https://example.org/" + "a" * 100, "https://example.org/" + "a" * 100),
    ],
)
def test_characters(printed: str, text: str) -> None:
    """What only a printer needs is spelled out or removed; what readers see stays."""
    assert clean(printed) == text


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("one\ntwo\r\nthree\rfour", "one two three four"),
        ("One.\n \nTwo.\n\n\n\nThree.", "One.\n\nTwo.\n\nThree."),
        ("a line of its own\n\nthat goes on", "a line of its own that goes on"),
        ("A heading\n\nThe text", "A heading\n\nThe text"),
        ("One.\u2029Two.\u2028Three.", "One.\n\nTwo. Three."),
        ("  \n\n  ", ""),
    ],
)
def test_lines_become_paragraphs(printed: str, text: str) -> None:
    """Single line ends become spaces; empty lines part paragraphs, unless the sentence runs on."""
    assert clean(printed) == text


def test_all_pages_decide_about_hyphens() -> None:
    """A compound that another page writes out keeps its hyphen at a line end."""
    assert clean_pages(["a self-\nish rule", "selfish"]) == ["a selfish rule", "selfish"]
    assert clean_pages(["a min-\nmax rule", "min-max"]) == ["a min-max rule", "min-max"]


@given(NASTY)
def test_cleaning_is_idempotent(text: str) -> None:
    """Clean text is left alone."""
    assert clean(clean(text)) == clean(text)


@given(NASTY)
def test_clean_text_is_harmless(text: str) -> None:
    """It is NFC, can be written as UTF-8, and has no character that shows nothing, except line feeds."""
    cleaned = clean(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned.encode().decode() == cleaned
    assert not [one for one in cleaned if one != "\n" and unicodedata.category(one) in ("Cc", "Cs", "Co")]
    assert not set(cleaned) & set("\u200b\u202e\ufffd\ufeff\u00ad")


@given(NASTY)
def test_clean_text_is_plain(text: str) -> None:
    """Its white space is single blanks and line feeds, which chunking relies on to be fast."""
    assert is_plain(clean(text))


@given(NASTY)
def test_cleaning_adds_no_letters(text: str) -> None:
    """Letters stand in the same order before and after, whatever accents join them."""
    before, after = (unicodedata.normalize("NFD", each) for each in (text, clean(text)))
    assert [one for one in after if one in "bZ1"] == [one for one in before if one in "bZ1"]


@given(st.text() | st.text("aZ9_ .ﬁß´\u0301\u0308İıΣ論각\u11a8ﬀ½²"))
def test_letters_and_digits_are_those_of_the_normal_form(text: str) -> None:
    folded = unicodedata.normalize("NFKC", text).casefold()
    assert letters_and_digits(text) == "".join(re.findall(r"[^\W_]+", folded))


def test_letters_and_digits() -> None:
    """Case, width, spaces and punctuation do not count; letters of every script do."""
    assert letters_and_digits("Ａ B-c_1: Straße, 論文!") == "abc1strasse論文"
