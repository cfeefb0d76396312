r"""How many tokens a text has in cl100k_base, exactly, with each word tokenized once and then looked up.

Where each blank of a text has a sign before and after it that is no white space, the text has as many tokens as its
words, each taken with the blank before it. For the encoding first cuts a text into pieces, with this pattern, and then
merges inside of each piece:

    '(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s

Such a blank can only be the first sign of a piece: by their form in the second and the fourth alternative, and as a run
of white space of its own in the last four, of which the last takes it alone. So a piece starts at each blank. What
stands before it is cut as if the text ended there, because only runs of white space look at what follows; and no
alternative looks back. A blank that starts or ends a text does no harm, and the special tokens have none in them. So
what holds for a text holds for every part of it.
"""

from __future__ import annotations

import os
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ["LONGEST_TOKEN", "count_any_tokens", "count_tokens", "is_one_token"]

LONGEST_TOKEN = 128  # characters; cl100k_base has none that is longer
LONGEST_KEPT = 40  # characters of a word that may well come again
MOST_KEPT = 50_000  # words, in some 10 MB


def count_tokens(text: str) -> int:
    """The tokens of `text`, which is plain, as `jobs.parsing.cleaning.is_plain` says, or a part of such a text."""
    first, *others = text.split(" ")
    return _sizes("")[first] + sum(map(_sizes(" ").__getitem__, others))


class _Sizes(dict[str, int]):
    """The sizes of words with something before them; all are forgotten when they are too many."""

    def __init__(self, before: str) -> None:
        super().__init__()
        self._before = before

    def __missing__(self, word: str) -> int:
        size = count_any_tokens(self._before + word)
        if len(word) <= LONGEST_KEPT:
            if len(self) >= MOST_KEPT:
                self.clear()
            self[word] = size
        return size


_sizes = cache(_Sizes)


def count_any_tokens(text: str) -> int:
    """The tokens of any text; a special token that is spelled out in it counts as one."""
    if "<|" in text:  # as every special token starts
        return len(_encoding().encode(text, allowed_special="all"))
    return len(_encoding().encode_ordinary(text))


@lru_cache(maxsize=50_000)
def is_one_token(text: str) -> bool:
    """Whether `text` is a single token."""
    try:
        _encoding().encode_single_token(text)
    except KeyError:
        return False
    return True


@cache
def _encoding() -> Encoding:
    import tiktoken

    # The tables lie in LlamaIndex's package; tiktoken itself would fetch them from the network.
    package = find_spec("llama_index.core")
    assert package is not None
    assert package.submodule_search_locations is not None
    tables = Path(package.submodule_search_locations[0]) / "_static" / "tiktoken_cache"
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tables)
    try:
        return tiktoken.get_encoding("cl100k_base")
    finally:
        del os.environ["TIKTOKEN_CACHE_DIR"]
        if before is not None:
            os.environ["TIKTOKEN_CACHE_DIR"] = before
