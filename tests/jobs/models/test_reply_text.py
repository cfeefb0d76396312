"""From what a model wrote to what it answers: thoughts and marks go, and an answer about them stays as it is."""

from __future__ import annotations

import pytest

from jobs.models.reply_text import said


@pytest.mark.parametrize(
    "raw",
    [
        "<think>Let me see.</think>Answer",
        "Let me see.\n</think>\n\nAnswer",
        "<think>one <think>two</think> three</think>Answer",
        "<think>I write `</think>` when I am done.\nNow.</think>Answer",
        "<think>thought</think>Answer</think>",
        "<think>thought</think>Answer</think></think><|im_end|>",
        "<think>one</think>\n<think>two</think>\nAnswer",
        "Answer<|im_end|>\n<|im_start|>user\nAnd `why`?",
        "<|im_start|>assistant\nAnswer<|eot_id|>",
        "<|channel|>analysis<|message|>Let me see.<|end|><|start|>assistant<|channel|>final<|message|>Answer<|return|>",
        "thought</think>" * 3000 + "Answer",
        "analysisWe see.assistantfinalAnswer",
        "commentaryWe see.assistantfinalAnswer",
        "assistantfinalAnswer",
        "<|channel|>final <|constrain|>json<|message|>Answer<|return|>",
        "<|begin_of_thought|>x<|end_of_thought|><|begin_of_solution|>Answer<|end_of_solution|>",
        "<think>x</think> " * 5000 + "Answer",
    ],
)
def test_what_is_no_answer_goes(raw: str) -> None:
    """Thoughts, nested ones and those without an opening tag too, and what follows the answer, are left out."""
    answer = said(raw)

    assert answer.text == "Answer"
    assert not answer.thinks


@pytest.mark.parametrize(
    "raw",
    [
        "ChatML uses `<|im_start|>` and `<|im_end|>` to mark turns.",
        "A turn begins by `<|im_start|>user` and ends by `<|im_end|>`.",
        "The `</think>` tag ends the reasoning.",
        'The tag "<think>" opens the part in which the model reasons before it answers, and "</think>" closes that part.',
        "They put the reasoning between <think> and </think>.",
        "Harmony names its channels by `<|channel|>`, as in `<|channel|>final`.",
        "The prompt ends with “<start_of_turn>”, which the model has to go on from.",
        "The `<|endoftext|>` token separates documents.",
        "Its mean absolute value is <|x|>\nwhere x is the strain, and not <|h|>",
        "<|x|> is the mean of the absolute values.",
    ],
)
def test_an_answer_about_marks_stays(raw: str) -> None:
    """What an answer quotes, shows as code or writes in a sentence is part of it."""
    assert said(raw).text == raw


@pytest.mark.parametrize("raw", ["<think>Let me", "The answer, then.\n<think>\nLet me", "Of `<think>`.\n<think>Let me"])
def test_an_answer_that_ends_in_a_thought(raw: str) -> None:
    """A thought that is not closed is left out, and said to be one."""
    answer = said(raw)

    assert answer.thinks
    assert "Let me" not in answer.text


def test_a_thought_after_a_mentioned_tag() -> None:
    """A tag that a sentence mentions does not hide the thought that comes after it."""
    answer = said("The tag <think> opens one.\n<think>\nLet me")

    assert (answer.text, answer.thinks) == ("The tag <think> opens one.", True)


@pytest.mark.parametrize(
    ("raw", "text"), [("4 <" + 100_000 * " ", "4 <"), (100_000 * " " + "< 4", "< 4"), ("<" + 50_000 * " x ", None)]
)
def test_blanks_without_end(raw: str, text: str | None) -> None:
    """A model that writes blanks up to its bound costs no more time than another: each is looked at a few times."""
    assert said(raw).text == (raw.strip() if text is None else text)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('```\n{"a": "```"}\n```\n', '{"a": "```"}'),
        ("```json\n" + 100_000 * " " + "{}```", "{}"),
        ('```json\n{"a": 1}', '```json\n{"a": 1}'),
    ],
)
def test_a_fence_around_json(raw: str, text: str) -> None:
    """The fence around an answer in JSON is taken off where it is whole; that of a plain answer stays."""
    assert said(raw, is_json=True).text == text
    assert said(raw).text == raw.strip()


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["<think>", "</think>", "a <think>", "<|im_end|>", "<think>a</think> "])
def test_tags_without_end(piece: str) -> None:
    """A model that writes nothing but tags has said nothing, and that is found at once."""
    assert said(piece * 20_000).text == ""


@pytest.mark.parametrize(("raw", "thinks"), [("analysisWe see.", True), ("analysis of the data", False)])
def test_a_thought_without_its_marks(raw: str, thinks: bool) -> None:
    """A channel whose marks were stripped is a thought, and a sentence that begins by its name is none."""
    assert said(raw).thinks is thinks
