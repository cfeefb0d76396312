from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from llama_index.core.evaluation.correctness import DEFAULT_EVAL_TEMPLATE
from llama_index.core.evaluation.eval_utils import default_parser

from jobs.evaluation.score_parser import LONGEST, THRESHOLD, Score, judge_messages, parse_score


@pytest.mark.parametrize(
    ("text", "score", "feedback"),
    [
        ("4.0\nok", 4.0, "ok"),
        ("4.0\n\nok\nmore", 4.0, "ok\nmore"),
        ("4.0", 4.0, ""),
        (" 5 \r\nok", 5.0, "ok"),
        ("4.\nok", 4.0, "ok"),
        ("\n\n4.0\nThe score of 3 would be harsh.", 4.0, "The score of 3 would be harsh."),
        ("Score: 4", 4.0, ""),
        ("Score: 4\nA score of 5 would need the date.", 4.0, "A score of 5 would need the date."),
        ("score - 2.5\nVague.", 2.5, "Vague."),
        ("- Score: 3", 3.0, ""),
        ("Final Score (1-5): 4\nok", 4.0, "ok"),
        ("Overall correctness score: 4/5", 4.0, ""),
        ("4/5", 4.0, ""),
        ("4 / 5\nok", 4.0, "ok"),
        ("**4.5**\nok", 4.5, "ok"),
        ("**Score:** 4.5\nok", 4.5, "ok"),
        ("## Score: **3**", 3.0, ""),
        ("Rating: 3.5 out of 5", 3.5, ""),
        ("Rating = 3 of 5.", 3.0, ""),
        ("The score is 4.", 4.0, ""),
        ("Here is my evaluation:\n4.0\nok", 4.0, "Here is my evaluation:\nok"),
        ("I would give this a score of 4.5, as it is right.", 4.5, "I would give this a score of 4.5, as it is right."),
        ("Score: 4.0 - right", 4.0, "Score: 4.0 - right"),
        ("<score>4</score>", 4.0, "<score>4</score>"),
        ('{"score": 4}', 4.0, ""),
        ('```json\n{"Score": "4.5", "reasoning": "ok"}\n```', 4.5, "ok"),
        ('{"score": 4, "feedback": "bad",}', 4.0, '{"score": 4, "feedback": "bad",}'),
        ("**Score**: 4 because", 4.0, "**Score**: 4 because"),
        ('{\n  "score": 2,\n  "feedback": bad\n}', 2.0, '{\n  "feedback": bad\n}'),
        ("<think>a score of 2? no, Score: 5</think>\n4.0\nok", 4.0, "ok"),
        ("Score: 4\nFinal score: 4.0", 4.0, ""),
        ("Could be 2.0\n2.0\n</think>\n4.0\nGood.", 4.0, "Good."),
        ("2.0\nhm\n</think>\n\n4.0", 4.0, ""),
        ("analysisMaybe score: 2assistantfinal4.0\nok", 4.0, "ok"),
        (
            "<|channel|>analysis<|message|>Maybe 2.0<|end|><|start|>assistant<|channel|>final<|message|>4.0\nok<|return|>",
            4.0,
            "ok",
        ),
        ("4.0<|im_end|>", 4.0, ""),
        ("4.0<|eot_id|>\nok", 4.0, "ok"),
        ("Score: 4</s>", 4.0, ""),
        ("4,5", 4.5, ""),
        ("4,5\nGut.", 4.5, "Gut."),
        ("Bewertung: 4,5", 4.5, ""),
        ("Bewertung: 4,5 von 5\nGut.", 4.5, "Gut."),
        ("Die Bewertung ist 4,5.", 4.5, ""),
        ("Note : 4/5", 4.0, ""),
        ("\uff14\uff0e\uff15\nok", 4.5, "ok"),
        ("\u5f97\u5206\uff1a\uff14", 4.0, ""),
        ("4½", 4.5, ""),
        ("Score: 3 ½", 3.5, ""),
        ('{"score": "4,5", "feedback": "Gut."}', 4.5, "Gut."),
    ],
)
def test_what_is_plainly_a_score(text: str, score: float, feedback: str) -> None:
    """The ways in which judges say a score are read, and the rest of the answer is kept as feedback."""
    assert parse_score(text) == Score(score=score, feedback=feedback)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "The answer is right.",
        "The answer is 4 times better.",
        "0\nbad",
        "6",
        "-3",
        "Score: -3",
        "Score: 0",
        "Score: 10",
        "Score: 45",
        "Score: 8/10",
        "Score: 4/50",
        "Score: 4/5.5",
        "4 out of 10",
        "Score: 80%",
        "Score: 4-5",
        "Score: 3 – 4",
        "a score between 2 and 3",
        "Score: 4.5.1",
        "Score: 4\nScore: 2",
        "Because:\n1.\nfirst\n2.\nsecond",
        "nan\nx",
        "inf\nx",
        '{"score": null}',
        '{"score": true}',
        '{"score": 7, "feedback": "ok"}',
        '{"underscore": 4}',
        "<think>I lean to 4\n4.0\n",
        "Score: four",
        "Score: 3,4,5",
        "between 3,4 and 5",
        "Note: 3 of the claims are wrong.",
        "6,5",
        "1½4",
        "1 2 3 4 5",
        pytest.param('{"a":' + "[" * 9_000 + "]" * 9_000 + "}", id="nested without end"),
    ],
)
def test_what_is_not(text: str) -> None:
    """No score, one outside 1 to 5 or on another scale, or several that differ: unscored, never 0."""
    assert parse_score(text) is None


NUMBERS = st.one_of(
    st.floats(1, 5).map(str),
    st.integers(-1, 7).map(str),
    st.floats().map(str),
    st.sampled_from(["4e0", "+4", " 4.5\t", ".5e1", "1_0", "٤", "4.", "nan", "-0"]),
)


@given(number=NUMBERS, rest=st.text(max_size=80))
@example(number="4.0", rest="\n\nok\n")
def test_agrees_with_llama_index(number: str, rest: str) -> None:
    """Where LlamaIndex's parser reads a number from 1 to 5, this one reads the same, with the same feedback."""
    score, feedback = default_parser(f"{number}\n{rest}")
    ours = parse_score(f"{number}\n{rest}")
    if score is not None and 1 <= score <= 5:
        assert ours == Score(score=score, feedback=feedback or "")
    elif score is not None:
        assert ours is None


PIECES = st.lists(
    st.sampled_from(["score", ":", " ", "4", ".", "5", "/", "out of", "\n", "{", "}", '"', "-", "<think>"])
)


@given(st.one_of(st.text(), PIECES.map("".join)))
def test_any_text_is_read(text: str) -> None:
    """Whatever a model writes gives a score from 1 to 5 or None, without an error."""
    score = parse_score(text)
    assert score is None or 1 <= score.score <= 5


def test_a_huge_answer_is_bounded() -> None:
    """Ten megabytes are read as far as a score may stand, and kept no longer than that."""
    score = parse_score("4\n" + "x" * 10_000_000)
    assert score is not None
    assert len(score.feedback) == LONGEST
    assert parse_score("word " * 2_000_000 + "\nScore: 4") is None
    assert parse_score("<think>" + "hm " * 100_000 + "</think>Score: 4") is not None


def test_passing() -> None:
    """The threshold of CorrectnessEvaluator is 4, inclusive."""
    assert Score(score=THRESHOLD, feedback="").passing
    assert not Score(score=3.9, feedback="").passing


@given(query=st.text(), response=st.text(), reference=st.text(min_size=1))
@example(query="{reference_answer}", response="{x} {{y}}", reference="{")
def test_messages_are_those_of_the_evaluator(query: str, response: str, reference: str) -> None:
    """The judge sees, to the character, what LlamaIndex's evaluator would send."""
    theirs = DEFAULT_EVAL_TEMPLATE.format_messages(query=query, generated_answer=response, reference_answer=reference)
    ours = judge_messages(query=query, response=response, reference=reference)
    assert ours == [{"role": message.role.value, "content": message.content} for message in theirs]


def test_no_reference() -> None:
    """An empty reference is said to be none, in the evaluator's words."""
    assert "(NO REFERENCE ANSWER SUPPLIED)" in judge_messages(query="q", response="r", reference="")[1]["content"]
