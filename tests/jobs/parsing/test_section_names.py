from __future__ import annotations

import pytest

from jobs.parsing.section_names import BACK_MATTER, back_matter, is_section_name, name_before_text


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("Acknowledgments", "acknowledgements"),
        ("7. ACKNOWLEDGEMENTS", "acknowledgements"),
        ("Authors’ contributions", "author contributions"),
        ("CRediT authorship contribution statement", "author contributions"),
        ("Conﬂict of interest", "competing interests"),
        ("Ethics approval and consent to participate", "ethics"),
        ("Table of Contents", "contents"),
        ("NeurIPS Paper Checklist", "checklist"),
        ("Funding:", "funding"),
        ("Contents of heavy metals in soil", ""),
        ("Introduction", ""),
        ("Funding and growth of mills", ""),
    ],
)
def test_back_matter_is_known_by_its_name(title: str, kind: str) -> None:
    """With a number, in capitals, with a ligature; a title that only begins like it is a subject's."""
    assert back_matter(title) == kind
    assert not kind or kind in BACK_MATTER


def test_names_of_sections() -> None:
    """Those of every field, with or without a number."""
    names = ["Introduction", "2 Materials and Methods", "IV. RESULTS AND DISCUSSION", "Abstract", "References"]
    assert all(map(is_section_name, names))
    assert not any(map(is_section_name, ["Mills", "The introduction of mills", "Table 1. Results"]))


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Funding: This work was paid by a mill.", "Funding"),
        ("Conﬂict of interest The authors declare none.", "Conflict of interest"),
        ("Background: Mills grind.", "Background"),
        ("Results of the study are given.", ""),
        ("Supplementary data are available.", ""),
    ],
)
def test_a_name_before_the_text_of_its_section(line: str, name: str) -> None:
    """It ends in a colon or the like, or a sentence starts behind it."""
    assert name_before_text(line) == name


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("Danksagung", "acknowledgements"),
        ("Conflicto de intereses", "competing interests"),
        ("Contributions des auteurs", "author contributions"),
        ("Sumário", "contents"),
        ("Список литературы", "references"),
        ("致谢", "acknowledgements"),
        ("第6章 参考文献", "references"),
        ("謝辞", "acknowledgements"),
        ("Ringraziamenti", "acknowledgements"),
        ("Einleitung", ""),
    ],
)
def test_back_matter_has_names_in_other_languages(title: str, kind: str) -> None:
    """German, Spanish, French, Portuguese, Italian, Russian, Chinese and Japanese."""
    assert back_matter(title) == kind


def test_names_of_sections_in_other_languages() -> None:
    """Those of every field, with the numbers of chapters."""
    names = ["1 Einleitung", "Materiales y métodos", "Введение", "第1章 引言", "4. はじめに", "结论", "Discussão"]
    assert all(map(is_section_name, names))
