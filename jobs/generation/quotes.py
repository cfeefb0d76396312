"""Answers that quote their source (RAFT, arXiv 2403.10131): every quote must be in the chunk.

The model marks its quotes with ``<quote>`` and ``</quote>``; the stored answer has quotation marks instead. A quote may
differ from the chunk only in white space, ligatures, the shape of quotation marks and dashes, the case of its first
letter and the stop at its end. It may not begin or end within a word or a number.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from jobs.models.chat import Malformed
from jobs.models.prompts import own_prompt
from jobs.records import Quote

__all__ = ["Quoted", "find_passage", "find_quote", "quoted_prompt", "read_quoted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """An answer with its quotes in quotation marks, and the place of each in the chunk."""

    answer: str
    quotes: tuple[Quote, ...]


def quoted_prompt(question: str, text: str) -> str:
    """LlamaIndex's QA prompt, with an instruction to quote."""
    return own_prompt("quoted_answer").format(context_str=text, query_str=question)


def read_quoted(answer: str, text: str) -> Quoted:
    """Find every quote of `answer` in the chunk's `text`.

    Raises `Malformed` for a quote that is not there, which it names, and for an answer that has no quote or nothing but
    quotes.
    """
    parts = _MARKED.split(answer)
    own, marked = parts[::2], parts[1::2]
    if not any(quote.strip() for quote in marked):
        raise Malformed("It quotes nothing. Copy what it rests on between <quote> and </quote>.")
    if any("quote>" in part for part in parts):
        raise Malformed("Each <quote> needs one </quote> after it.")
    if not any(character.isalnum() for part in own for character in part):
        raise Malformed("It says nothing of its own beside the quote.")
    quotes = [_matched(quote, text) for quote in marked]
    shown = "".join(piece for pair in zip(own, [*(f"“{q.text}”" for q in quotes), ""], strict=True) for piece in pair)
    return Quoted(answer=shown.strip(), quotes=tuple(quotes))


def find_quote(quote: str, text: str) -> tuple[int, int] | None:
    """The place of `quote` in `text` (start, end); None if it is not there."""
    wanted = _plain(quote).text.strip().rstrip(".,;: ")
    if not wanted:
        return None
    plain = _plain(text)
    for form in dict.fromkeys((wanted, wanted[0].swapcase() + wanted[1:])):
        at = plain.text.find(form)
        while at >= 0:
            if _is_whole(plain.text, at, at + len(form)):
                return plain.starts[at], plain.ends[at + len(form) - 1]
            at = plain.text.find(form, at + 1)
    return None


def find_passage(passage: str, text: str) -> tuple[int, int] | None:
    """The place of `passage` in `text`, as `find_quote` finds it, with the stop at its end."""
    place = find_quote(passage, text)
    if place is None:
        return None
    start, end = place
    closing = _CLOSING.match(text, end) if _CLOSING.search(passage.strip()[-2:]) else None
    return start, closing.end() if closing else end


_CLOSING = re.compile(r"[.!?。！？][”\"']?")
_MARKED = re.compile(r"<quote>(.*?)</quote>", re.DOTALL)
# No boundary is asked for between these: their scripts write no spaces.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]")
_DECIMAL = re.compile(r"\d[.,]\d")
_ALIKE = str.maketrans("‘’‚‛“”„«»‐‑‒–—−", '\'\'\'\'"""""------')


def _matched(quote: str, text: str) -> Quote:
    found = find_quote(quote, text)
    if found is None:
        raise Malformed(f"“{_joined(quote)}” does not stand in the context word for word.")
    return Quote(text=_joined(quote), start=found[0], end=found[1])


@dataclass(frozen=True, slots=True)
class _Plain:
    """`text` in its plainest form, and where each of its characters begins and ends in the original."""

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]


def _plain(text: str) -> _Plain:
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for place, character in enumerate(text):
        if character.isspace():
            if characters and characters[-1] == " ":
                ends[-1] = place + 1
                continue
            spelled = " "
        else:
            spelled = _spelled(character)
        characters += spelled
        starts += [place] * len(spelled)
        ends += [place + 1] * len(spelled)
    return _Plain("".join(characters), tuple(starts), tuple(ends))


def _spelled(character: str) -> str:
    """`text` with ligatures spelled out; superscripts, fractions and other numbers do not become plain digits."""
    if "\ufb00" <= character <= "\ufb06":
        return unicodedata.normalize("NFKC", character)
    return character.translate(_ALIKE) if character != "\u00ad" else ""


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether the piece begins and ends at the boundaries of words and numbers."""
    return not (_cut(text, start) or _cut(text, end))


def _cut(text: str, at: int) -> bool:
    """Whether a word or a number continues across this place: "12" is no quote of "12.5" or "125", nor is "2.5"."""
    before, after = text[:at][-2:], text[at : at + 2]
    two = before[-1:] + after[:1]
    if len(two) == 2 and two.isalnum():
        return not _UNSPACED.search(two)
    return bool(_DECIMAL.fullmatch(before[-1:] + after) or _DECIMAL.fullmatch(before + after[:1]))


def _joined(text: str) -> str:
    return " ".join(text.split())
