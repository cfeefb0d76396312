"""Rules on the words of a pair: pure functions that refuse a pair only when a fault is plain.

A pair is refused when it asks about the document's form instead of its content, when its answer only repeats the
question or refuses to answer, and when either is too short or too long. "The paper" is allowed, because the prompt
names the paper. The patterns are in English, German, French, Spanish and Chinese; in other languages only length and
repetition are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from jobs.config import Curate
from jobs.records import Pair
from jobs.run.normal_text import words

__all__ = ["RULES_VERSION", "Fault", "fault", "passing"]

RULES_VERSION = 1  # raise it when any rule here changes which pairs pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a pair is refused: `reason` is one stable word for counting, `detail` is for readers."""

    reason: str
    detail: str


def passing(pairs: Iterable[Pair], settings: Curate) -> Iterator[Pair]:
    """The pairs that break no rule."""
    return (pair for pair in pairs if fault(pair.question, pair.answer, settings) is None)


def fault(question: str, answer: str, settings: Curate) -> Fault | None:
    """The first rule that the pair breaks; None if it breaks none, or if rules are off."""
    if not settings.rules:
        return None
    return (
        _length("question", question, settings.shortest_question, settings.longest_question)
        or _found(_REFUSAL, "refusal", "answer", answer)
        or _found(_FORM, "about_form", "question", question)
        or _found(_POINTER, "about_form", "question", question)
        or _found(_POINTER, "about_form", "answer", answer)
        or _length("answer", answer, settings.shortest_answer, settings.longest_answer)
        or _repetition(question, answer)
    )


def _length(part: str, text: str, shortest: int, longest: int) -> Fault | None:
    count = len(words(text))
    if count < shortest:
        return Fault(reason="too_short", detail=f"the {part} has {count} words, fewer than {shortest}")
    if count > longest:
        return Fault(reason="too_long", detail=f"the {part} has {count} words, more than {longest}")
    return None


def _found(pattern: str, reason: str, part: str, text: str) -> Fault | None:
    found = _compiled(pattern).search(text)
    return Fault(reason=reason, detail=f"the {part} says “{found[0].strip()}”") if found else None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """At its first use: it takes a twentieth of a second, and a run that starts has no pair yet."""
    return re.compile(pattern, re.IGNORECASE)


def _repetition(question: str, answer: str) -> Fault | None:
    """The fault of an answer without a new word; the answer to a choice ("ice or water?") needs none."""
    asked = words(question)
    if _CHOICE.intersection(asked) or any(sign in question for sign in _CHOICE_SIGNS):
        return None
    if {*words(answer)} - {*asked} - _SAYS_NOTHING:
        return None
    return Fault(reason="repeats_question", detail="the answer has no word that is not in the question")


# Words that add nothing to a question when its answer repeats it.
_SAYS_NOTHING = frozenset(
    "a an the is are was were be been being it its this that these those there of in on at to for by with from and as "
    "because has have had do does did will would can which who also very so then than thus indeed simply just called "
    "der die das den dem ein eine einer eines ist sind war wird von im in zu für mit und weil "
    "le la les un une des du de est sont qui que et par pour dans ce cette car "
    "el los las una es son por para con en y porque se lo "
    "是 的 就 了 也 在 之 为 為".split()
)
_CHOICE = frozenset("or oder ou o u whether ob".split())
_CHOICE_SIGNS = ("还是", "還是", "或", "それとも", "또는", "或者")

_NUMBER = r"(?:\d+[a-z]?\b|[IVX]+\b|[A-Z]\.?\d+|S\d+)"
_TEXT = r"(?:passage|excerpt|snippet|paragraph|context|text|chunk|document|extract)"
_PAPER = r"(?:paper|article|study|text|document|manuscript|report)"
_SAYS = r"(?:say|state|mention|discuss|describe|explain|provide|indicate|suggest|tell|present|list|report)"

# Where something stands in the document: useless to a reader who does not have it before him.
_POINTER = "|".join(
    (
        rf"\b(?:fig(?:ure|s?\.)?|figures|tab(?:le|s?\.)|tables|algorithm|theorem|lemma|appendix)\s*{_NUMBER}",
        r"\b(?:the|this) (?:figure|table|diagram|caption|plot)s? (?:above|below|shows?|lists?|summari[sz]es)\b",
        r"\b(?:as )?(?:shown|listed|depicted|illustrated|summari[sz]ed) (?:in the (?:figure|table)|(?:above|below)\b)",
        r"\beq(?:uation|n)?s?\.? ?\(?\d+",
        r"\bsections? \d+\.\d+",
        r"\b(?:in|see|of|from) section \d+(?= *(?:[,.;:?)]|$|(?:is|are|was|were|describe|discuss|present)))",
        r"\b(?:on|see) page \d+|\(?\bpp\. ?\d+",
        r"\b(?:reference|ref\.|citation|footnote) ?\[?\d+",
        r"\b(?:by|of|does|do|did|from) \[\d+\]",
        r"\b(?:Abbildung|Abb\.|Tabelle|Tab\.|Gleichung|Abschnitt|Fußnote) ?\(?\d+|\bauf Seite \d+",
        r"\b(?:tableau|équation|figure) \d+|\bà la page \d+|\bla section \d+",
        r"\b(?:figura|tabla|ecuación|tabela) \d+|\ben la página \d+|\bla sección \d+",
        r"[图圖表] ?\d+|第 ?\d+ ?[页頁]|公式 ?[(（]?\d+",
    )
)

# A question that is about the paper as a thing, or that leans on a text which its reader does not see.
_FORM = "|".join(
    (
        rf"\b(?:according to|based on|as per) (?:the|this|that) (?:\w+ )?{_TEXT}\b(?! of\b)(?!-)",
        # "In this context" is a phrase, "in the main text" a place, "in the text passage" a kind of data.
        (
            rf"\b(?:from|in) (?:the|this|that) (?:(?:given|provided|above|following) )?{_TEXT}\b"
            rf"(?<!in this context)(?! of\b)(?!-)(?! {_TEXT}\b)"
        ),
        rf"\b(?:the|this) (?:above|given|provided|following|preceding) {_TEXT}\b",
        rf"\b(?:does|do|did) (?:the|this) {_TEXT}s? {_SAYS}\b",
        r"\b(?:according to|based on|in|does|from) (?:the|this) (?:table|figure|diagram|caption)\b(?! of\b)",
        r"\bwhich of the following\b|\bthe (?:above|preceding) (?:statement|question|sentence)\b",
        r"\bauthors?['’]?s?['’]? (?:affiliations?|e-?mails?|addresses|address|institutions?|universit|departments?|names?\b)",
        rf"\bcorresponding author|\bwho (?:is the author|wrote|authored) (?:of )?(?:this|the) {_PAPER}\b|\bwho are the authors\b",
        r"\baffiliated with\b.*\bauthors?\b|\bauthors?\b.*\baffiliated\b",
        rf"\b(?:title|abstract|doi|keywords?|bibliography|reference list|acknowledge?ments?) of (?:the|this) {_PAPER}\b",
        r"\bhow many (?:pages|figures|tables|references|sections|citations) (?:does|are in|has)\b",
        r"\b(?:laut|gemäß|nach|in) (?:dem|diesem|des) (?:vorliegenden |obigen )?(?:Text|Abschnitt|Kontext|Auszug|Dokument)\b",
        r"\bwer (?:hat|sind) (?:die Autoren|diesen (?:Artikel|Aufsatz))\b",
        r"\b(?:selon|d['’]après|dans) (?:le|ce|cet) (?:texte|passage|contexte|document|extrait|paragraphe)\b",
        r"\bauteurs?\b.*\baffiliation|\baffiliation\b.*\bauteurs?\b",
        r"\b(?:según|de acuerdo con|en) (?:el|este) (?:texto|pasaje|contexto|documento|fragmento|párrafo)\b",
        r"\bafiliación\b.*\bautor|\bautor(?:es)?\b.*\bafiliación",
        r"(?:根据|按照|依据|上述|以上|这段|该段|在)(?:本|此|这|该|上)?(?:文|段落|文本|文章|上下文|文档|资料)(?:中|，|,|所|的内容)|作者(?:的)?(?:单位|机构|邮箱)",
    )
)

_LACKS = r"(?:does not|doesn['’]t|do not|don['’]t) (?:directly |explicitly |specifically |clearly )?"
_TELLS = r"(?:say|state|mention|specify|contain|provide|include|give|answer|discuss|address|describe|indicate)"
_TOLD = r"(?:mentioned|specified|stated|given|provided|determined|answered|discussed|described)"
_GIVEN = rf"(?:{_TEXT}|paper|article|information)"

# A refusal stands at the beginning of an answer; further on the same words are part of one.
_REFUSAL = (
    r"^\W*(?:"
    + "|".join(
        (
            r"(?:i['’]?m |i am )?sorry\b|i apologi[sz]e\b|as an? (?:ai|language|large language)\b",
            r"(?:unfortunately,? )?i (?:cannot|can['’]t|could not|couldn['’]t|am unable|am not able|do not know|don['’]t)\b",
            rf"(?:unfortunately,? )?(?:the|this) (?:given |provided |available )?(?:{_TEXT}|paper|article)\b {_LACKS}{_TELLS}\b",
            rf"(?:unfortunately,? )?the (?:information (?:given|provided)|provided information) {_LACKS}\w+",
            r"there (?:is|was)(?: not|n['’]t| no) (?:enough |any |sufficient )?(?:information|mention|indication)\b",
            rf"(?:it|this|that|the answer) (?:is not|isn['’]t|was not|cannot be) (?:\w+ )?{_TOLD}\b[^.]*\b{_GIVEN}\b",
            rf"(?:not|no information (?:is )?) ?{_TOLD}\b(?:\W*$|[^.]*\b{_GIVEN}\b)",
            r"der (?:Text|Kontext|Abschnitt|Auszug) (?:sagt|enthält|nennt|erwähnt|gibt|liefert)\b[^.]*(?:nicht|keine)",
            r"(?:leider|ich kann)\b[^.]*\bnicht beantworte|aus dem (?:Text|Kontext) geht\b[^.]*nicht",
            r"(?:désolé|je ne (?:peux|sais) pas|je suis désolé)\b",
            r"le (?:texte|contexte|passage|document) ne\b[^.]*\bpas\b",
            r"(?:lo siento|no puedo)\b|el (?:texto|contexto|pasaje|documento) no (?:lo )?(?:menciona|dice|especifica|contiene)\b",
            r"抱歉|对不起|我(?:无法|不能|不知道)|(?:文中|文本|上下文|段落|文章|本文)(?:中)?(?:并)?(?:没有|未)(?:提|说|给|明)",
        )
    )
    + ")"
)
