"""The words of a text that carry meaning, and those that name something: what checks of pairs compare. English alone."""

from __future__ import annotations

import re

__all__ = ["GENERIC", "LINK", "NAME", "subject_terms", "terms", "unlinked"]


def terms(text: str) -> frozenset[str]:
    """The words that carry meaning, cut to six letters so that "compute" and "computing" are one."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return frozenset(word[:6] for word in words if (len(word) > 2 or word.isdigit()) and word not in _FUNCTION_WORDS)


def subject_terms(text: str) -> frozenset[str]:
    """Its `terms` without those that any paper has, such as "method" and "result"."""
    return terms(text) - GENERIC


def unlinked(text: str) -> str:
    """`text` without the word that links it to what stands before: "However, it grinds" becomes "It grinds"."""
    rest = LINK.sub("", text, count=1)
    return rest if rest == text else rest[:1].upper() + rest[1:]


LINK = re.compile(
    r"^(?:relatedly|furthermore|moreover|however|additionally|similarly|also|thus|hence|therefore|consequently|indeed|"
    r"altogether|nevertheless|finally|accordingly|as a result|for (?:example|instance)|in (?:contrast|addition)),?\s+",
    re.IGNORECASE,
)
"""A word or two at the start of a sentence that link it to what stands before."""

NAME = re.compile(r"(?<=\s)\w*[A-Z]\w*|\w+-\w+|\w*\d\w*")
"""A name inside a sentence: a word with a capital, a digit or a hyphen."""

_FUNCTION_WORDS = frozenset(
    "about after all also and any are because been before being between both but can could did does each for from had "
    "has have how into its may might more most much not one only other over same should some such than that the their "
    "them then there these they this those through under use used uses using very was were what when where whether "
    "which while who whom whose why will with would you your".split()
)
# Words that name nothing by themselves, cut as `terms` cuts.
GENERIC = frozenset(
    word[:6]
    for word in "according achieve advantage aim answer approach author benefit compare conclusion contribution describe "
    "difference discuss example experiment finding focus following function goal idea important include main mean "
    "mention method model name new number paper performance primary problem process provide purpose question reason "
    "research result role section set significance step study system task technique term text type work".split()
)
