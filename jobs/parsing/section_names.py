"""The names that sections of papers bear: what they tell of a heading, and of which a chunk is worth no question."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["BACK_MATTER", "back_matter", "is_section_name", "name_before_text"]

_LEADING_NUMBER = re.compile(r"^(?:\d{1,2}(?:\.\d{1,2})*|[A-H](?:\.\d{1,2})*|[IVX]{1,5})[.:)]?\s+")
BACK_MATTER = {
    "acknowledgements": r"acknowledge?ments?( and (funding|disclosures?))?",
    "funding": r"funding( statement| sources?| information)?|financial (support( and sponsorship)?|disclosures?)|grant support|"
    r"sources? of funding",
    "author contributions": r"(author|authors['’]|credit author(ship)?) ?contributions?( statement)?|contributors|"
    r"credit authorship contribution statement",
    "competing interests": r"(potential |declaration of )?conflicts? of interests?( statement| disclosures?)?|"
    r"(declarations? of )?competing (financial )?interests?( statement)?|declarations?( of interests?)?|disclosures?( statement)?",
    "ethics": r"(research )?ethic(s|al)( (statement|approval|considerations?|declarations?))?"
    r"( and (informed )?consent( to participate)?)?|institutional review board statement|informed consent( statement)?|"
    r"consent (for publication|to participate)",
    "data availability": r"data (and (code|materials?) )?(availability|accessibility)( statement)?|code availability|"
    r"availability of (supporting )?data( and materials?)?",
    "supplementary material": r"additional (information|files)|(electronic )?supplement(ary|al) (materials?|information|data)|"
    r"supporting information",
    "abbreviations": r"(list of )?abbreviations",
    "contents": r"(table of )?contents|list of (figures|tables|symbols|publications)",
    "checklist": r"((reporting|submission|paper|neurips paper|reproducibility) )?checklist|reporting summary",
    "references": r"references( and notes)?|bibliography|literature cited|works cited",
    "about the authors": r"about the authors?|authors?['’]? (information|details|biograph(y|ies))|biograph(y|ies)|orcid( ids?)?",
    "publisher's note": r"publisher['’]s note|how to cite this article|rights and permissions|"
    r"peer review( information| file)?|provenance and peer review",
}
"""What a paper says beside its subject, by kind: thanks, duties, lists; a pattern of the names that such sections bear."""

_BACK = "|".join(BACK_MATTER.values())
_MAIN = (
    r"abstract|summary|highlights|background|introduction|preface|foreword|motivation|overview|"
    r"(related|previous|prior) works?|literature review|theory|theoretical background|preliminaries|notations?|"
    r"(materials?|subjects?|patients?|participants) (and|&) methods?|(study )?methods?( and materials?)?|methodology|"
    r"experiments?|experimental( section| methods| setup| results| procedures?)?|evaluation|implementation|case study|"
    r"(experimental )?results?( (and|&) (discussions?|conclusions?))?|findings|(data |statistical )?analys[ie]s|discussions?( and conclusions?)?|"
    r"(concluding|final) remarks|conclusions?( and (future work|outlook|discussion|perspectives?))?|"
    r"limitations?( of the study)?|future (work|directions|prospects)|outlook|appendix|appendices|glossary|nomenclature"
)
_NAMES = re.compile(f"{_MAIN}|{_BACK}", re.IGNORECASE)
_KINDS = {kind: re.compile(names, re.IGNORECASE) for kind, names in BACK_MATTER.items()}
_RUN_IN = re.compile(
    rf"(?P<title>(?:{_MAIN}|{_BACK}))\s?(?:[.:—–]\s*(?=\S)|\s(?-i:(?=[A-Z][a-z]* [a-z])))", re.IGNORECASE
)


@lru_cache(maxsize=4096)
def is_section_name(text: str) -> bool:
    """Whether `text`, without a number before it, is a name that sections bear in every field."""
    return bool(_NAMES.fullmatch(_bare(text)))


@lru_cache(maxsize=4096)
def back_matter(text: str) -> str:
    """The kind of section that bears the name `text` and says nothing of the paper's subject; "" if it does."""
    bare = _bare(text)
    return next((kind for kind, names in _KINDS.items() if names.fullmatch(bare)), "")


def name_before_text(text: str) -> str:
    """The section's name at the start of a line that goes on with the section's text; "" if there is none.

    The name ends in a stop, a colon or a dash, or a sentence starts behind it ("Conflict of interest The authors …").
    """
    match = _RUN_IN.match(_spelled(text)) if text[:1].isupper() else None
    return match["title"] if match else ""


def _bare(text: str) -> str:
    return _LEADING_NUMBER.sub("", _spelled(text).strip()).strip(" .:")


def _spelled(text: str) -> str:
    return text.replace("ﬁ", "fi").replace("ﬂ", "fl").replace("ﬀ", "ff")
