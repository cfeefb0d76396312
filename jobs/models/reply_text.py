"""From what a model wrote to what it answers: no thoughts, no marks of a chat template, no unreadable characters.

Every provider passes its answers through here, so no job sees a thought. A thought is what stands between two tags,
behind an opening tag that is never closed, or before a closing tag that was never opened: some templates write the
opening tag into the prompt. A tag that an answer only mentions, within a sentence, is left alone.
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
    if any(sign in raw for sign in _SIGNS) or raw.startswith("analysis"):
        text, thinks = _without_thoughts(_final_channel(raw))
        text = _without_marks(text)
    text = readable(text).strip()
    if is_json and text.startswith("```"):
        text = _FENCE.sub(r"\1", text).strip()
    return Said(text, thinks)


_SIGNS = ("<", "[/THINK]", "[THINK]", "[INST]", "[/INST]", "◁")

_NAMES = (
    r"think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad|inner_monologue|antthinking|seed:think|"
    r"mm:think"
)
_OPEN = rf"(?:<(?:{_NAMES})\b[^<>\n]{{0,80}}>|\[THINK\]|◁think▷|<unused94>(?:thought)?|<\|START_THINKING\|>)"
_CLOSE = r"(?:</(?:" + _NAMES + r")\s*>|\[/THINK\]|◁/think▷|<unused95>|<\|END_THINKING\|>)"
_OPENING = re.compile(_OPEN, re.IGNORECASE)
_CLOSING = re.compile(_CLOSE, re.IGNORECASE)
_MENTION = 60
"""Characters between two tags on one line that an answer may write about tags; what is longer is a thought."""


def _without_thoughts(text: str) -> tuple[str, bool]:
    """`text` without its thoughts, and whether it ends inside one."""
    first, closing = _OPENING.search(text), _CLOSING.search(text)
    if closing and (first is None or closing.start() < first.start()):
        return _without_thoughts(text[closing.end() :])  # its opening tag stands in the prompt
    kept, place = [], 0
    while opening := _OPENING.search(text, place):
        closing = _CLOSING.search(text, opening.end())
        if closing is None:
            if not _begins_line(text, place, opening.start()):
                break  # it is spoken of
            kept.append(text[place : opening.start()])
            return "".join(kept), True
        inside = text[opening.end() : closing.start()]
        mentioned = not _begins_line(text, place, opening.start()) and len(inside) <= _MENTION and "\n" not in inside
        kept.append(text[place : closing.end() if mentioned else opening.start()])
        place = closing.end()
    return "".join([*kept, text[place:]]), False


def _begins_line(text: str, start: int, at: int) -> bool:
    """Whether nothing but blanks and marks of a template stand before `at` on its line, or since `start`."""
    line = text[max(start, text.rfind("\n", 0, at) + 1) : at]
    return not _MARKS.sub("", line).strip()


_CHANNEL = "<|channel|>"
_FINAL = re.compile(r"<\|channel\|>\s*final\b[^<]{0,80}<\|message\|>")
_MESSAGE_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")


def _final_channel(text: str) -> str:
    """Of harmony's channels the final one; where there is none yet, all of it is a thought.

    A server that strips special tokens leaves their words: "analysis… assistantfinal…".
    """
    if _CHANNEL in text:
        finals = list(_FINAL.finditer(text))
        return _MESSAGE_END.split(text[finals[-1].end() :])[0] if finals else f"<think>{text}"
    if text.startswith("analysis") and "assistantfinal" in text:
        return text.rpartition("assistantfinal")[2]
    return text


_MARK = (
    r"(?:<[|｜][^<>|｜\n]{1,40}[|｜]>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|"
    r"<\|?endoftext\|?>|<end_of_utterance>|</?answer>|<(?:START|END)_RESPONSE>)"
)
_MARKS = re.compile(_MARK)
_HEADER = r"<\|start_header_id\|>\s*\w+\s*<\|end_header_id\|>|<\|im_start\|>\s*\w+\s*\n|<start_of_turn>\s*\w+\s*\n"
_LEADING = re.compile(rf"\A(?:\s*(?:{_HEADER}|{_MARK}))+")
_TRAILING = re.compile(rf"(?:{_MARK}\s*)+\Z")
_LINE_END = re.compile(rf"[ \t]*(?:{_MARK}[ \t]*)+$", re.MULTILINE)
_NEXT_TURN = re.compile(
    r"<\|(?:im_end|eot_id|end|eom_id|endoftext|end_of_text|end_of_turn|END_OF_TURN_TOKEN)\|>\s*<\|"
    r"|<end_of_turn>\s*<start_of_turn>|</s>\s*(?:<s>|\[INST\])|<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>"
)


def _without_marks(text: str) -> str:
    """`text` up to where a model goes on with the next turn by itself, without a template's marks at the end of a line."""
    text = _LEADING.sub("", text)
    if turn := _NEXT_TURN.search(text):
        text = text[: turn.start()]
    return _LINE_END.sub("", _TRAILING.sub("", text))


_FENCE = re.compile(r"\A```[\w-]*\s*\n?(.*?)\s*```\s*\Z", re.DOTALL)
