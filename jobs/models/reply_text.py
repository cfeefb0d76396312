"""From what a model wrote to what it answers: no thoughts, no marks of a chat template, no unreadable characters.

Every provider passes its answers through here, so no job sees a thought. A thought is what stands between two tags,
behind an opening tag that is never closed, or before a closing tag that was never opened: some templates write the
opening tag into the prompt. A tag or mark that an answer only mentions, in quotation marks, in a code span or within a
sentence, is left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jobs.run.normal_text import readable

__all__ = ["Said", "said"]


@dataclass(frozen=True, slots=True)
class Said:
    """The answer, stripped, which may be ""; ``thinks`` says that the text ends inside a thought."""

    text: str
    thinks: bool = False


def said(raw: str, *, is_json: bool = False) -> Said:
    """What the text `raw` answers. With ``is_json`` a code fence around the whole of it is taken off.

    Most answers hold no sign of a mark: for these it costs a look at their characters.
    """
    text, thinks = raw, False
    if ("<" in raw or "[" in raw or "◁" in raw or raw.startswith(_BARE)) and _has_marks(raw):
        text, thinks = _without_thoughts(_final_channel(raw))
        text = _without_marks(text)
    text = readable(text).strip()
    if is_json and text.startswith("```") and text.endswith("```"):
        text = _FENCE.sub("", text[:-3]).strip()
    return Said(text, thinks)


def _has_marks(raw: str) -> bool:
    return bool(_TAG_LIKE.search(raw)) or any(sign in raw for sign in _SIGNS) or raw.startswith(_BARE)


_TAG_LIKE = re.compile("<[A-Za-z/|｜]")  # "p < 0.05" and "<5" are none, and stand in many answers
_SIGNS = ("[/THINK]", "[THINK]", "[INST]", "[/INST]", "◁")

_NAMES = (
    r"think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad|inner_monologue|antthinking|seed:think|"
    r"mm:think"
)
_OPEN = rf"(?:<(?:{_NAMES})\b[^<>\n]{{0,80}}>|\[THINK\]|◁think▷|<unused94>(?:thought)?|<\|(?:START_THINKING|begin_of_thought)\|>)"
_CLOSE = r"(?:</(?:" + _NAMES + r")\s*>|\[/THINK\]|◁/think▷|<unused95>|<\|(?:END_THINKING|end_of_thought)\|>)"
_CLOSING = re.compile(_CLOSE, re.IGNORECASE)
_TAG = re.compile(rf"(?P<opens>{_OPEN})|{_CLOSE}", re.IGNORECASE)
_MOST_TAGS = 4000
_MENTION = 60
"""Characters between two tags on one line that an answer may write about tags; what is longer is a thought."""


def _without_thoughts(text: str) -> tuple[str, bool]:
    """`text` without its thoughts, and whether it ends inside one."""
    if (
        len(_TAG.findall(text)) > _MOST_TAGS
    ):  # a model that repeats itself: what follows the last thought is looked at alone
        closings = [*_CLOSING.finditer(text)]
        return (text[closings[-1].end() :], False) if closings else ("", True)
    kept, place, found, end = "", 0, False, _end(text)
    while tag := _unquoted(_TAG, text, place):
        if not tag["opens"]:  # its opening tag stands in the prompt, or the thought held a pair of tags itself
            kept = kept + text[place : tag.start()] if found and tag.start() >= end else ""
            place, found = tag.end(), True
            continue
        begins = _begins_line(text, place, tag.start())
        closing = _unquoted(_CLOSING, text, tag.end())
        if closing is None:
            if begins:
                return kept + text[place : tag.start()], True
            kept, place = kept + text[place : tag.end()], tag.end()  # the answer is about tags
            continue
        inside = text[tag.end() : closing.start()]
        mentioned = not begins and len(inside) <= _MENTION and "\n" not in inside
        kept += text[place : closing.end() if mentioned else tag.start()]
        place, found = closing.end(), found or not mentioned
    return kept + text[place:], False


_PAIRS = {'""', "''", "“”", "‘’", "„“", "«»"}


def _unquoted(pattern: re.Pattern[str], text: str, start: int = 0) -> re.Match[str] | None:
    """The first match from `start` on that is not in quotation marks or a code span: an answer may be about marks."""
    return next((match for match in pattern.finditer(text, start) if not _is_quoted(text, match)), None)


def _is_quoted(text: str, match: re.Match[str]) -> bool:
    start, end = match.span()
    if text[start - 1 : start] + text[end : end + 1] in _PAIRS:
        return True
    before = text[text.rfind("\n", 0, start) + 1 : start]
    line_end = text.find("\n", end)
    return before.count("`") % 2 == 1 and text.find("`", end, line_end if line_end >= 0 else len(text)) >= 0


def _end(text: str) -> int:
    """Where closing tags, marks of a template and blanks begin behind which nothing else comes."""
    end = len(text)
    for match in reversed([*_ENDING.finditer(text)]):
        if text[match.end() : end].strip():
            break
        end = match.start()
    return end


def _begins_line(text: str, start: int, at: int) -> bool:
    """Whether nothing but blanks and marks of a template stand before `at` on its line, or since `start`."""
    line = text[max(start, text.rfind("\n", 0, at) + 1) : at]
    return not _MARKS.sub("", line).strip()


_CHANNEL = re.compile(r"<\|channel\|>")
_FINAL = re.compile(r"<\|channel\|>\s*final\b[^<]{0,80}(?:<\|constrain\|>[^<]{0,80})?<\|message\|>")
_MESSAGE_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")


def _final_channel(text: str) -> str:
    """Of harmony's channels the final one; where there is none yet, all of it is a thought.

    A server that strips special tokens leaves their words: "analysis… assistantfinal…".
    """
    if _unquoted(_CHANNEL, text):
        finals = list(_FINAL.finditer(text))
        return _MESSAGE_END.split(text[finals[-1].end() :])[0] if finals else f"<think>{text}"
    if text.startswith(_BARE) and "assistantfinal" in text:
        return text.rpartition("assistantfinal")[2]
    return f"<think>{text}" if text.startswith(_BARE) and _BARE_THOUGHT.match(text) else text


_BARE = ("analysis", "commentary", "assistantanalysis", "assistantcommentary", "assistantfinal")
_BARE_THOUGHT = re.compile(r"(?:assistant)?(?:analysis|commentary)(?=[A-Z“\"'])")


_MARK = (
    r"(?:<[|｜][^<>|｜\n]{3,40}[|｜]>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|"
    r"<\|?endoftext\|?>|<end_of_utterance>|</?answer>|<(?:START|END)_RESPONSE>)"
)
_MARKS = re.compile(_MARK)
_ENDING = re.compile(rf"{_CLOSE}|{_MARK}", re.IGNORECASE)
_HEADER = r"<\|start_header_id\|>\s*\w+\s*<\|end_header_id\|>|<\|im_start\|>\s*\w+\s*\n|<start_of_turn>\s*\w+\s*\n"
_LEADING = re.compile(rf"\A(?:\s*(?:{_HEADER}|{_MARK}))+")
_TRAILING = re.compile(rf"(?:{_MARK}\s*)+\Z")
_LINE_END = re.compile(rf"(?<![ \t])[ \t]*(?:{_MARK}[ \t]*)+$", re.MULTILINE)
_NEXT_TURN = re.compile(
    r"<\|(?:im_end|eot_id|end|eom_id|endoftext|end_of_text|end_of_turn|END_OF_TURN_TOKEN)\|>\s*<\|"
    r"|<end_of_turn>\s*<start_of_turn>|</s>\s*(?:<s>|\[INST\])|<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>"
)


def _without_marks(text: str) -> str:
    """`text` up to where a model goes on with the next turn by itself, without a template's marks at the end of a line."""
    text = _LEADING.sub("", text)
    if turn := _unquoted(_NEXT_TURN, text):
        text = text[: turn.start()]
    return _LINE_END.sub("", _TRAILING.sub("", text))


_FENCE = re.compile(r"\A```[\w-]*")
