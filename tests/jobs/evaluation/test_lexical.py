from __future__ import annotations

import collections
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.evaluation.lexical import LEXICAL, exact_match, rouge_l, token_f1

WORDS = st.lists(st.sampled_from("the a mill grinds Mills, slow. slow! 1,000 don't grind-stone ö".split()), max_size=12)
TEXTS = WORDS.map(" ".join)


# What SQuAD's evaluation script (version 2.0) says, written from its published definition.


def normalised(text: str) -> str:
    without_punctuation = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", without_punctuation).split())


def squad_f1(gold: str, predicted: str) -> float:
    gold_tokens, tokens = normalised(gold).split(), normalised(predicted).split()
    same = sum((collections.Counter(gold_tokens) & collections.Counter(tokens)).values())
    if not gold_tokens or not tokens:
        return int(gold_tokens == tokens)
    if same == 0:
        return 0
    precision, recall = same / len(tokens), same / len(gold_tokens)
    return (2 * precision * recall) / (precision + recall)


@pytest.mark.parametrize(
    ("response", "reference", "same", "f1"),
    [
        ("The mill.", "a MILL", 1, 1.0),
        ("Two stones", "Two stones grind", 0, 0.8),
        ("stones stones stones", "stones", 0, 0.5),
        ("Denver Broncos", "the Carolina Panthers", 0, 0.0),
        ("", "", 1, 1.0),
        ("the", "", 1, 1.0),
        ("", "Stones.", 0, 0.0),
        ("it's 1,000", "its 1000", 1, 1.0),
        ("co-operation", "co operation", 0, 0.0),
    ],
)
def test_squads_metrics(response: str, reference: str, same: int, f1: float) -> None:
    """Known values: case, punctuation, articles and spaces make no difference; words count as often as both have them."""
    assert exact_match(response, reference) == same
    assert token_f1(response, reference) == pytest.approx(f1)


@given(TEXTS, TEXTS)
def test_they_are_those_of_squads_script(response: str, reference: str) -> None:
    """Whatever the texts, both figures are those of the published script."""
    assert exact_match(response, reference) == int(normalised(response) == normalised(reference))
    assert token_f1(response, reference) == pytest.approx(squad_f1(reference, response))


@pytest.mark.parametrize(
    ("response", "reference", "score"),
    [
        ("The mill grinds slowly.", "The mill grinds exceedingly fine.", 0.666667),
        ("police kill the gunman", "police killed the gunman", 0.75),
        ("the gunman kill police", "police killed the gunman", 0.5),
        ("Tokens: 1,000 per-minute (TPM)", "1000 tokens per minute", 0.6),
        ("", "Two stones.", 0),
        ("Two stones.", "", 0),
        ("Größe 42 für alle", "Größe 42 für viele", 0.833333),
        ("a b c d e f g", "g f e d c b a", 0.142857),
        ("The cat sat on the mat. The cat sat.", "On the mat sat the cat.", 0.666667),
        ("Nothing in common", "entirely different words", 0.0),
        ("SAME same Same", "same SAME same", 1.0),
        (
            "The limiter reads the headers, because other clients share the account.",
            "Because other clients may share the same account, the limiter corrects itself by these headers.",
            0.461538,
        ),
        ("don't stop", "do not stop", 0.333333),
        ("水", "水", 0),
    ],
)
def test_rouge_l_is_googles(response: str, reference: str, score: float) -> None:
    """The figures that rouge-score 0.1.2 gives: ``RougeScorer(["rougeL"], use_stemmer=False)``, F-measure."""
    assert rouge_l(response, reference) == pytest.approx(score, abs=1e-6)


@given(TEXTS, TEXTS)
def test_rouge_l_by_the_table(response: str, reference: str) -> None:
    """The longest common subsequence is that of the textbook's table, cell by cell."""
    ours, theirs = (re.sub(r"[^a-z0-9]+", " ", text.lower()).split() for text in (response, reference))
    table = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for i, word in enumerate(ours):
        for j, other in enumerate(theirs):
            table[i + 1][j + 1] = table[i][j] + 1 if word == other else max(table[i][j + 1], table[i + 1][j])
    both = len(ours) + len(theirs)
    assert rouge_l(response, reference) == pytest.approx(2 * table[-1][-1] / both if both else 0.0)


@pytest.mark.parametrize("metric", LEXICAL)
@given(response=TEXTS, reference=TEXTS)
def test_what_holds_for_all(metric: str, response: str, reference: str) -> None:
    """Each metric runs from 0 to 1 and is the same whichever of the two texts is called the reference."""
    score = LEXICAL[metric](response, reference)
    assert 0 <= score <= 1
    assert score == LEXICAL[metric](reference, response)
