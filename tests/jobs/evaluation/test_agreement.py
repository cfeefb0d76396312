"""The agreement judge: one token asked for, and a probability read from what the model might have said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.requests import Alternative, Reply, Usage
from jobs.evaluation.agreement import Agreement, agreement_request, read_agreement


def said(tokens: list[tuple[str, float]]) -> Reply:
    """A reply whose first token had these alternatives, with their probabilities."""
    alternatives = [Alternative(token=token, logprob=math.log(chance)) for token, chance in tokens]
    return Reply(text="Yes", alternatives=alternatives, usage=Usage())


def test_the_request_asks_for_one_token_and_its_alternatives() -> None:
    """Question, reference and response stand in the prompt as they are, braces included."""
    request = agreement_request(question="What is {x}?", reference="The reference.", response="The {response}.")
    (message,) = request.messages
    for text in ("What is {x}?", "The reference.", "The {response}."):
        assert text in message["content"]
    assert request.to == "judge"
    assert request.max_output_tokens == 1
    assert request.alternatives == 20


def test_an_empty_response_is_shown_as_none() -> None:
    """The judge sees that there is no answer instead of an empty line."""
    (message,) = agreement_request(question="Q?", reference="R.", response="").messages
    assert "Given answer: (no answer)" in message["content"]


def test_all_spellings_of_a_word_count() -> None:
    """Case, spaces and quotes do not matter, and other words take no part."""
    read = read_agreement(said([("Yes", 0.3), (" yes", 0.2), ('"YES', 0.1), ("No", 0.15), ("no.", 0.05), ("The", 0.2)]))
    assert read is not None
    assert read.probability == pytest.approx(0.6 / 0.8)


def test_longer_words_do_not_count() -> None:
    """ "Not", "None" and "Yesterday" are no answers."""
    assert read_agreement(said([("Not", 0.5), ("None", 0.3), ("Yesterday", 0.2)])) is None


@pytest.mark.parametrize(("tokens", "probability"), [([("Yes", 0.9)], 1.0), ([("No", 0.9), ("Maybe", 0.1)], 0.0)])
def test_a_word_that_is_not_among_the_alternatives_is_impossible(
    tokens: list[tuple[str, float]], probability: float
) -> None:
    """With only one of the words in sight, it is certain."""
    read = read_agreement(said(tokens))
    assert read == Agreement(probability=probability)


@pytest.mark.parametrize(
    "unscored",
    [
        Reply(text="Yes", usage=Usage()),
        Reply(text="Yes", alternatives=[Alternative(token="Yes", logprob=-1e9)], usage=Usage()),
        Reply(text="Yes", alternatives=[Alternative(token="Yes", logprob=math.nan)], usage=Usage()),
        said([("Perhaps", 1.0)]),
    ],
)
def test_what_gives_no_probability_is_unscored(unscored: Reply) -> None:
    """A server without log probabilities, an impossible word, another word: None, never a score."""
    assert read_agreement(unscored) is None


@given(st.floats(1e-9, 1), st.floats(1e-9, 1))
def test_more_yes_is_never_a_lower_score(yes: float, no: float) -> None:
    """The scale runs from 1 to 5 with P(Yes), and passing begins in its middle."""
    read = read_agreement(said([("Yes", yes), ("No", no)]))
    more = read_agreement(said([("Yes", min(1, yes * 2)), ("No", no)]))
    assert read
    assert more
    assert 1 <= read.correctness <= more.correctness <= 5
    assert read.passing == (read.probability >= 0.5)


def test_the_feedback_says_that_it_is_a_demo() -> None:
    """The words beside the score name the judge for what it is."""
    agreement = Agreement(probability=0.8311)
    assert agreement.feedback == "demo judge: P(agrees) = 0.83"
    assert agreement.correctness == 4.32
