"""Which side of the split a paper, a chunk or a question falls on, decided by a hash of what it says.

Nothing is drawn and nothing is looked up: the same seed and the same text give the same side on every machine, in any
order, however large the corpus becomes.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from itertools import accumulate

from jobs.parsing.cleaning import letters_and_digits

__all__ = ["BOTH", "TRAIN", "VAL", "chunk_key", "paper_key", "side"]

TRAIN = "train"
VAL = "val"
BOTH = "both"
"""A chunk whose questions fall on either side (``split.by = "question"``)."""

SHINGLE_WORDS = 5
MOST_WORDS = 200_000

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+"
)  # a word, or one sign of a script without spaces


def side(*, seed: int, key: str, train: float) -> str:
    """ "train" for the share `train` of all keys (0 to 1), "val" for the rest."""
    digest = blake2b(f"{seed}\n{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return TRAIN if int.from_bytes(digest) < train * 2**64 else VAL


def paper_key(title: str, text: str) -> str:
    """A key that copies and versions of one paper share, from its title where that is one, else from its text.

    A hash can bring two papers together only through something that is *equal* in both. Between versions (a preprint
    and its print, a re-saved file, one with hidden text or lost pages) the text as a whole never is; the title nearly
    always is, once case, spaces and punctuation are gone. It must be credible, though: three words and fifteen
    letters, lest every "Editorial" be one paper. Two papers of one title land on one side, which harms nothing.

    Without such a title the key is the smallest hash among all runs of five words (MinHash, Broder 1997). For two
    texts that is equal with the probability of their Jaccard similarity: a version that shares nine tenths of its
    word runs has the same key in nine cases of ten, and of the others a good half still has the same side.
    """
    name = letters_and_digits(title)
    if len(title.split()) >= 3 and sum(map(str.isalpha, name)) >= 15:
        return f"title {name}"
    return f"text {_smallest_shingle(text)}"


def chunk_key(text: str) -> str:
    """A key that chunks share whose letters and digits are the same."""
    return f"chunk {letters_and_digits(text)}"


def _smallest_shingle(text: str) -> str:
    words = [word.encode("utf-8", "surrogatepass") for word in _WORD.findall(text.casefold())[:MOST_WORDS]]
    joined = b" ".join(words)
    ends = list(accumulate((len(word) + 1 for word in words), initial=0))  # each is where the next word starts, too
    runs = zip(ends, ends[SHINGLE_WORDS:], strict=False) if len(words) > SHINGLE_WORDS else [(0, len(joined) + 1)]
    return min(blake2b(joined[start : end - 1], digest_size=8).digest() for start, end in runs).hex()
