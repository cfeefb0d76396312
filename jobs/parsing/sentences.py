r"""Where sentences start, as NLTK's Punkt says without training: the common cases decided here, the rest by Punkt.

Punkt looks at each sign of ".?!" that has a closing or opening mark or white space after it; of several in one word
only the last counts. It cuts the word and what follows into tokens and asks whether a sentence ends at one that is not
the last. Untrained it knows no abbreviations, collocations or sentence starters, so three rules remain: a token that
is a ".", "?" or "!", or that ends in a single ".", ends a sentence; a number with a "." does not before a small letter
or a punctuation mark; and a single letter with a "." does not before any letter with case.

In the common cases the tokens are certain. Opening brackets and double quotes are tokens of their own, and of no
effect. Letters and digits, joined by single hyphens or full stops, are one token together with the "." that follows,
unless dots go on after it (". . ." is one token). A closing bracket is a token of its own, and so is a "." after it.
`_CERTAIN` has these cases and no others. A test compares the whole with Punkt's on texts of such signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import zip_longest

from jobs.parsing.punkt import untrained_punkt

__all__ = ["any_sentence_starts", "sentence_starts"]

_MARKS = "][)(}{\";*:@'‘’“”«»?!"  # Punkt's signs that end a word
_END = re.compile(rf"[.?!](?=[{re.escape(_MARKS)}]|\s+(\S))")
_MARK = re.compile("[.?!]")
_FOLLOWING = re.compile(r"\S|\s+\S+")
_CLOSING = re.compile("[\"')\\]}‘’“”«»]+?(?:\\s+|(?=--)|$)", re.MULTILINE)
_CERTAIN = re.compile(
    r"""[(\[{"]*(?:
        (?P<number>[0-9]+(?:[-.,][0-9]+)*) | (?P<initial>[A-Za-z]) | [^\W\d_](?:[^\W_]|[-.](?=[^\W_]))+
    ) | .*[)\]}"]""",
    re.VERBOSE,
)


def sentence_starts(text: str) -> list[int]:
    """Where each sentence of `text` starts. Its white space must be blanks and line feeds: `any_sentence_starts` if not."""
    spans = list(_spans(text))
    starts = []
    closed = 0  # signs at the start of a span that close the sentence before
    for (start, end), after in zip_longest(spans, spans[1:]):
        start += closed
        closing = after and text[after[0]] in _MARKS and _CLOSING.match(text, *after)
        if closing or start < end:
            starts.append(start)
        closed = closing.end() - closing.start() if closing else 0
    return starts


def any_sentence_starts(text: str) -> list[int]:
    """The same of any text, by Punkt alone."""
    tokenizer, memory = untrained_punkt()
    memory.clear_ortho_context()
    return [start for start, _ in tokenizer.span_tokenize(text)]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Sentences by their marks alone, before what closes one is given back to it."""
    start = 0
    for word_start, mark in _candidates(text):
        if _ends_sentence(text, word_start, mark):
            yield start, mark.end()
            start = mark.start(1) if mark[1] else mark.end()
    yield start, len(text.rstrip())


def _candidates(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Each mark that may end a sentence, of several in one word the last, and where its word starts."""
    word_start = 0
    last: re.Match[str] | None = None
    since = 0
    for mark in _END.finditer(text):
        at = mark.start()
        blank = text.rfind(" ", since, at)
        blank = max(blank, text.rfind("\n", max(blank, since), at))
        start = blank + 1 if blank > since else word_start
        if last and since <= start:
            yield word_start, last
        last, since, word_start = mark, at, start
    if last:
        yield word_start, last


def _ends_sentence(text: str, word_start: int, mark: re.Match[str]) -> bool:
    word, sign, following = text[word_start : mark.start()], mark[0], mark[1] or text[mark.end()]
    certain = _CERTAIN.fullmatch(word)
    if certain and (sign != "." or (certain.lastgroup is None and following != ".")):
        return True
    next_word = _FOLLOWING.match(text, mark.end())
    assert next_word is not None
    if certain and following not in ";:," and not _MARK.search(next_word[0]):
        return not following.islower() and (certain.lastgroup == "number" or not following.isupper())
    return _punkt_says(f"{word}{sign}{next_word[0]}")


@lru_cache(maxsize=10_000)
def _punkt_says(context: str) -> bool:
    tokenizer, memory = untrained_punkt()
    memory.clear_ortho_context()  # else it grows with every word that was ever asked about
    return bool(tokenizer.text_contains_sentbreak(context))
