"""NLTK's Punkt without the rest of NLTK, whose import would cost each process that parses 0.2 s and 28 MB.

Importing ``nltk.tokenize.punkt`` runs the ``__init__`` of two packages, which import parsers, corpora and numpy. Punkt uses
none of that. So the two are empty while it is imported, and a later ``import nltk`` finds no trace of that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

__all__ = ["untrained_punkt"]


@cache
def untrained_punkt() -> tuple[PunktSentenceTokenizer, PunktParameters]:
    """A tokenizer of sentences that was never trained, and its memory."""
    with _empty("nltk", "nltk.tokenize"):
        from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    untrained = PunktParameters()
    return PunktSentenceTokenizer(untrained), untrained


@contextmanager
def _empty(*packages: str) -> Iterator[None]:
    """While inside, `packages` that are not imported yet are empty; what is imported from them is forgotten afterwards."""
    before = set(sys.modules)
    for name in packages:
        if name not in before and (spec := find_spec(name)):
            package = ModuleType(name)
            package.__path__ = list(spec.submodule_search_locations or ())
            sys.modules[name] = package
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if name.startswith(packages):
                del sys.modules[name]
