"""Judging correctness as LlamaIndex's CorrectnessEvaluator does: its prompt, its scale, and a parser for the answers.

LlamaIndex's parser raises on "4.0" without a second line and finds no score in "Score: 4". This one agrees with it
wherever it reads a number from 1 to 5, reads other plain scores too, and returns None for the rest: an answer that
cannot be read is unscored, never 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

import msgspec

from engine.errors import Permanent
from jobs.models.prompts.llama_index import prompts
from jobs.models.reply_text import said
from jobs.run.normal_text import readable

__all__ = ["THRESHOLD", "Score", "judge_messages", "parse_score", "scored", "spoken"]

T = TypeVar("T")

THRESHOLD = 4.0
"""The lowest score that passes (CorrectnessEvaluator's score_threshold)."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A judge's score, 1 (worst) to 5 (best), and its feedback."""

    score: float
    feedback: str

    @property
    def passing(self) -> bool:
        return self.score >= THRESHOLD


async def scored(judgement: Awaitable[T]) -> tuple[T | None, str]:
    """A judge's result and ""; or None and the reason, if its answer cannot be read. Other errors are raised."""
    try:
        return await judgement, ""
    except Permanent as error:
        if error.kind != "malformed":
            raise
        return None, f"unscored: {error}"


def judge_messages(*, query: str, response: str, reference: str) -> list[dict[str, str]]:
    """The chat messages that CorrectnessEvaluator sends to judge `response` to `query` against `reference`."""
    texts = prompts()
    user = texts.correctness_user.format(
        query=query,
        generated_answer=response,
        reference_answer=reference or "(NO REFERENCE ANSWER SUPPLIED)",
    )
    return [{"role": "system", "content": texts.correctness_system}, {"role": "user", "content": user}]


def parse_score(text: str) -> Score | None:
    """The score in a judge's answer; None if it holds no score from 1 to 5, or several that differ.

    In this order: a first line that is a number; a JSON object with a score; lines that are nothing but a score ("4",
    "**4.5**", "Score: 4/5", "Bewertung: 4,5", "4½"); a score named within a sentence. Reasoning before the answer and
    the marks of chat templates are ignored.
    """
    answer = said(text).text
    first, _, rest = (text if answer == readable(text).strip() else answer).partition("\n")  # LlamaIndex keeps blanks
    try:
        return _score(float(_plain(first)), rest.lstrip("\n"))
    except ValueError:
        answer = answer[:LONGEST]
        return _from_json(answer) or _from_lines(answer) or _from_sentences(answer)


def spoken(text: str) -> str:
    """A model's answer without the reasoning before it, cut to the length that is parsed."""
    return said(text).text[:LONGEST]


LONGEST = 20_000  # characters of an answer that are read, and of feedback that is kept


def _plain(text: str) -> str:
    """`text` with its numbers in ASCII: full-width digits, a decimal comma and halves are written 4.5."""
    if not text.isascii():
        text = _FRACTION.sub(lambda found: found[1] + _FRACTIONS[found[2]], text.translate(_FULL_WIDTH))
    return _COMMA.sub(r"\1.\2", text) if "," in text else text


_FULL_WIDTH = {0xFF10 + digit: str(digit) for digit in range(10)} | {0xFF0E: ".", 0xFF0C: ",", 0xFF0F: "/", 0xFF1A: ":"}
_FRACTIONS = {"¼": ".25", "½": ".5", "¾": ".75"}
_FRACTION = re.compile(r"(?<![\d.,])(\d) ?([¼½¾])(?![\d.,]*\d)")
_COMMA = re.compile(r"(?<![\d.,])([0-5]),(\d{1,2})(?![\d.,]*\d)")
_NUMBER = (
    r"(?<![\d.,−-])(\d+(?:\.\d+)?)(?![\d%]|[.,]\d|\s?[-–]\s?\d)"  # no part of another number, no range
    r"(?:\s*(?:/|out of|of|von|sur|de|su)\s*(\d+)(?![.,]?\d))?(?!\s*(?:/|out of|von|sur)\s*\d)"  # on which scale
)
_NAME = (
    r"(?:score|rating|grade|correctness|bewertung|wertung|punktzahl|punkte|puntuación|puntuacion|calificación|"
    r"calificacion|puntaje|punteggio|pontuação|оценка|评分|得分|分数|評価|スコア|점수)"
)
_LINE_NAME = rf"(?:{_NAME}|note|nota)"
_MARKS = r"[*_`\"'>]{0,3}"
_SCALE = re.compile(r"[(\[]\s*(?:from )?1(?:\.0)?\s*(?:-|–|to)\s*5(?:\.0)?\s*[)\]]", re.IGNORECASE)
_SCORE_LINE = re.compile(
    rf"(?:[-•–] )?(?:(?:\w+ ){{0,3}}{_LINE_NAME}(?: is| of| ist| est)?[^\w\n.−-]{{0,9}}(?:- )?)?{_NUMBER}",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    rf"\b{_NAME}\b{_MARKS}(?: is| of|:| =| would be| ist| est| es)? ?{_MARKS} ?{_NUMBER}", re.IGNORECASE
)
_DRESS = " \t\r*_`#>\"'|$:=[](){},;"


def _from_json(answer: str) -> Score | None:
    start, end = answer.find("{"), answer.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        found = msgspec.json.decode(answer[start : end + 1].encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):  # the latter for what is nested without end
        return None
    if not isinstance(found, dict):
        return None
    values = {str(key).lower(): value for key, value in found.items()}
    named = next((value for key, value in values.items() if re.fullmatch(_NAME, key)), None)
    try:
        return _score(float(_plain(str(named))), _reason(values))
    except ValueError:
        return None


def _reason(values: dict[str, Any]) -> str:
    names = ("feedback", "reasoning", "reason", "explanation", "rationale", "justification")
    return next((str(values[name]) for name in names if values.get(name)), "")


def _from_lines(answer: str) -> Score | None:
    lines = _SCALE.sub("", answer).split("\n")
    found = {index: _SCORE_LINE.fullmatch(_plain(line).strip(_DRESS).rstrip(".")) for index, line in enumerate(lines)}
    matches = [match for match in found.values() if match]
    feedback = "\n".join(line for line, match in zip(lines, found.values(), strict=True) if not match)
    return _agreed(matches, feedback.strip())


def _from_sentences(answer: str) -> Score | None:
    return _agreed(_SENTENCE.finditer(_plain(_SCALE.sub("", answer))), answer.strip())


def _agreed(matches: Iterable[re.Match[str]], feedback: str) -> Score | None:
    """The one score that all `matches` give, if they do."""
    scores = {float(match[1]) if match[2] in (None, "5") else math.nan for match in matches}
    return _score(scores.pop(), feedback) if len(scores) == 1 else None


def _score(number: float, feedback: str) -> Score | None:
    return Score(score=number, feedback=feedback[:LONGEST]) if 1.0 <= number <= 5.0 else None
