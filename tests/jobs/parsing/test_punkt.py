from __future__ import annotations

import subprocess
import sys

import pytest


def said(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.processes
def test_it_loads_nothing_else_of_nltk() -> None:
    """Neither numpy nor NLTK's other packages are loaded, and nothing of NLTK stands in the way of its real import."""
    code = (
        "import sys\n"
        "from jobs.parsing.punkt import untrained_punkt\n"
        "tokenizer, _ = untrained_punkt()\n"
        "spans = list(tokenizer.span_tokenize('It is one. It is two.'))\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] in ('nltk', 'numpy')]\n"
        "import nltk.tokenize.punkt\n"
        "theirs = nltk.tokenize.punkt.PunktSentenceTokenizer().span_tokenize('It is one. It is two.')\n"
        "print(spans == list(theirs), nltk.__version__ != '')"
    )
    assert said(code) == "True True"


@pytest.mark.processes
def test_nltk_that_is_there_stays() -> None:
    """Where NLTK is imported already, Punkt is taken from it, and it stays."""
    code = (
        "import sys, nltk.tokenize.punkt\n"
        "from jobs.parsing.punkt import untrained_punkt\n"
        "tokenizer, _ = untrained_punkt()\n"
        "print(type(tokenizer) is nltk.tokenize.punkt.PunktSentenceTokenizer, sys.modules['nltk'] is nltk)"
    )
    assert said(code) == "True True"


@pytest.mark.parametrize("text", ["", "Mr. Smith went. He came back (once).", "No end"])
def test_it_is_punkt(text: str) -> None:
    """It finds the sentences that NLTK's own finds."""
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    from jobs.parsing.punkt import untrained_punkt

    assert list(untrained_punkt()[0].span_tokenize(text)) == list(PunktSentenceTokenizer().span_tokenize(text))
