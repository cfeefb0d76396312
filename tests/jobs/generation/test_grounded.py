"""The recipe "grounded" for any endpoint: what is asked, what of a reply is read, and which pairs are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from samples import chunk

from engine.requests import Request
from jobs.generation.copied import Copied
from jobs.generation.grounded import Task
from jobs.generation.manner import Manner
from jobs.generation.pair_checks import COPIED, STATED, GroundedPair, fault, joined
from jobs.generation.question_types import TYPES
from jobs.models.chat import Malformed

TEXT = """We measured how fast four mills grind. The steel mill “Ajax” ground 42 kg of wheat an hour, while the
stone mill ground 17 kg of it. The steel rollers of Ajax stay cool because water flows through their hollow shafts.

3 Discussion

Cool ﬂour keeps its gluten, so bakers prefer it."""

COOL = {
    "evidence": "The steel rollers of Ajax stay cool because water flows through their hollow shafts.",
    "type": "why",
    "question": "Why do the steel rollers of the mill Ajax stay cool?",
    "answer": "Water flows through the hollow shafts of the rollers and cools them.",
}
SPEED = {
    "evidence": 'The steel mill "Ajax" ground 42 kg of wheat an hour, while the\nstone mill ground 17 kg of it.',
    "type": "number",
    "question": "How much wheat does the steel mill Ajax grind in an hour?",
    "answer": "The steel mill Ajax grinds 42 kg of wheat in an hour.",
}
GROUNDED = Copied()


def task(count: int = 2, *, text: str = TEXT, besides: Any = (), **changed: Any) -> Task:
    return Task(chunk=chunk("c", text=text, **changed), count=count, besides=besides)


def asked(count: int = 2, **changed: Any) -> Request:
    request = GROUNDED.request(task(count, **changed))
    assert request is not None
    return request


def read(reply: Any, count: int = 9, text: str = TEXT) -> Any:
    told = reply if isinstance(reply, str) else json.dumps(reply)
    return GROUNDED.read(told, task(count, text=text))


def test_one_schema_for_all_chunks() -> None:
    """A server that prepares a schema does so once; only what the user says differs from chunk to chunk."""
    one, other = asked(), asked(3, title="{title} of {text}")
    assert one.schema == other.schema
    assert one.messages[0] == other.messages[0]
    assert "Write 2 questions" in one.messages[1]["content"]
    assert "Write 3 questions" in other.messages[1]["content"]
    assert "Paper: {title} of {text}\n" in other.messages[1]["content"]
    assert TEXT in one.messages[1]["content"]
    assert all(f'"{name}"' in one.messages[0]["content"] for name in TYPES)


def test_room_for_what_is_asked() -> None:
    """A reply has room for all pairs, and for what a thinking model is given."""
    assert asked(5).max_output_tokens == 2000
    assert Copied(max_tokens=8000).request(task(5)).max_output_tokens == 8000  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3",
        "| 0.1 | 0.2 |\n| 0.3 | 0.4 |",
        "Hui, B., and Yang, A. 2022. On mills. In Proceedings of ACL, 10:53-54. Yang, A. and Hui, B. 2024. On grain, 3:1-9.",
    ],
)
def test_nothing_to_ask_about(text: str) -> None:
    """Numbers and lists of references cost no request."""
    assert GROUNDED.request(task(2, text=text)) is None


def test_prose_of_any_script_is_asked_about() -> None:
    """A sentence that begins with "We", or one without spaces, is prose, too."""
    assert GROUNDED.request(task(1, text="We show that steel mills grind faster than stone mills do."))
    assert GROUNDED.request(
        task(1, text="我们测量了四台磨机研磨小麦的速度，并发现钢磨机比石磨机快得多，因为水流经它们的空心轴。")
    )


def test_pairs_are_kept_with_evidence_and_type() -> None:
    """The evidence is kept as the chunk has it, whatever quotation marks and line ends the model writes."""
    reading = read({"pairs": [COOL, SPEED]})
    assert reading.rejected == {}
    assert [(pair.type, pair.question) for pair in reading.pairs] == [
        ("why", COOL["question"]),
        ("number", SPEED["question"]),
    ]
    assert reading.pairs[1].evidence.startswith("The steel mill “Ajax” ground 42 kg")
    assert all(pair.evidence in joined(TEXT) for pair in reading.pairs)


@pytest.mark.parametrize(
    "form",
    [
        lambda pairs: {"pairs": pairs},
        lambda pairs: pairs,
        lambda pairs: {"questions": pairs[0]},
        lambda pairs: {f"pair_{number}": pair for number, pair in enumerate(pairs)},
        lambda pairs: {"pairs": {"1": pairs[0]}},
        lambda pairs: pairs[0],
        lambda pairs: {"pairs": [{key.upper(): text for key, text in pairs[0].items()}]},
        lambda pairs: f"Here they are:\n```json\n{json.dumps({'pairs': pairs})}\n```\nDone.",
    ],
)
def test_forms_of_a_reply_in_words_alone(form: Any) -> None:
    """A model that is only told the form may wrap the pairs in another object, a list or words."""
    assert COOL["question"] in [pair.question for pair in read(form([COOL, SPEED])).pairs]


def test_evidence_ends_as_the_chunk_does() -> None:
    """The stop at the end belongs to it where the model copies it, and only there."""
    assert read([COOL]).pairs[0].evidence == COOL["evidence"]
    assert read([{**COOL, "evidence": COOL["evidence"][:-1]}]).pairs[0].evidence == COOL["evidence"][:-1]


def test_no_more_than_asked_for() -> None:
    """Of too many pairs the first are kept."""
    assert [pair.question for pair in read({"pairs": [COOL, SPEED]}, 1).pairs] == [COOL["question"]]


def test_a_model_that_finds_nothing_says_so() -> None:
    """An empty list is an answer, not a fault."""
    assert read({"pairs": []}).pairs == ()


@pytest.mark.parametrize("reply", ["", "I cannot.", '{"pairs": [', "7", {"pairs": [{"question": "Why?"}]}])
def test_what_holds_no_pair_is_malformed(reply: Any) -> None:
    """It is said in words that the model can use."""
    with pytest.raises(Malformed, match="pairs"):
        read(reply)


def test_an_unknown_type_is_none() -> None:
    """A pair is not lost for its label."""
    assert [pair.type for pair in read([{**COOL, "type": "Causal"}, {**SPEED, "type": " Number"}]).pairs] == [
        "",
        "number",
    ]


@pytest.mark.parametrize(
    ("reason", "changed"),
    [
        ("not_evidence", {"evidence": "The rollers of Ajax are cooled by water."}),
        ("not_evidence", {"evidence": "water flows through their hollow"[:-3]}),
        ("not_evidence", {"evidence": ""}),
        ("not_a_question", {"question": "Explain the cooling of the steel rollers of Ajax."}),
        ("points_at_text", {"question": "Why do the authors cool the steel rollers of the mill Ajax?"}),
        ("vague", {"question": "What is the main purpose of the method?"}),
        ("unfinished", {"answer": "Water cools the hollow shafts. " * 50}),
        ("says_nothing", {"answer": "The steel rollers of the mill Ajax stay cool."}),
        ("not_grounded", {"answer": "Liquid nitrogen evaporates inside a heat exchanger."}),
        ("not_grounded", {"answer": "Water of 8 degrees flows through the hollow shafts."}),
        ("no_number", {"type": "number"}),
        ("malformed", {"answer": 3}),
    ],
)
def test_a_bad_pair_is_counted_by_its_reason(reason: str, changed: dict[str, Any]) -> None:
    """Each check rejects what it is for, and a good pair beside it stays."""
    reading = read({"pairs": [{**COOL, **changed}, SPEED]})
    assert reading.rejected == {reason: 1}
    assert [pair.question for pair in reading.pairs] == [SPEED["question"]]


def test_the_same_evidence_serves_once() -> None:
    """Two questions about one sentence are one pair."""
    again = {**COOL, "question": "What keeps the steel rollers of Ajax from heating up?"}
    assert read([COOL, again]).rejected == {"duplicate": 1}


def test_what_was_asked_before_is_not_asked_again() -> None:
    """The model sees the earlier questions, and a repetition is dropped."""
    text = TEXT.partition("\n\n")[0] + " The stones of the old mill turn slowly because the river carries little water."
    before = read([COOL]).pairs
    request = GROUNDED.request(task(2, text=text, besides=before))
    assert request is not None
    assert request.messages[1]["content"].endswith(f"ask about something else:\n- {COOL['question']}")
    assert GROUNDED.read(json.dumps([COOL, SPEED]), task(2, text=text, besides=before)).rejected == {"duplicate": 1}


def test_words_of_the_chunk_outside_the_evidence_are_no_invention() -> None:
    """An answer may name what another sentence of the chunk names; one about a stated sentence may not."""
    pair = GroundedPair(
        evidence="Cool ﬂour keeps its gluten, so bakers prefer it.",
        question="Why do bakers prefer flour that stays cool?",
        answer="Cool flour keeps its gluten, which water in the hollow shafts of rollers makes sure of.",
    )
    text = joined(TEXT)
    assert fault(pair, [text], (), COPIED) == ""
    assert fault(pair, [text], (), STATED) == "not_grounded"


def test_an_answer_in_another_language_is_held_to_its_numbers() -> None:
    """Words cannot be compared across languages; evidence and numbers can."""
    abroad = replace(COPIED, same_words=False)
    pair = GroundedPair(
        evidence=joined(TEXT).partition("fast four mills grind. ")[2].partition(" The steel rollers")[0],
        question="Wie viel Weizen mahlt die Stahlmühle Ajax in der Stunde?",
        answer="Ajax mahlt 42 kg Weizen in der Stunde.",
    )
    texts = [joined(TEXT)]
    assert fault(pair, texts, (), abroad) == ""
    assert fault(replace(pair, answer="Ajax mahlt 43 kg Weizen."), texts, (), abroad) == "not_grounded"
    assert (
        fault(replace(pair, question="Was mahlt schneller, Stahlwalzen oder Mühlsteine?"), texts, (), COPIED) == "vague"
    )


def test_a_language_that_is_named() -> None:
    """Questions in German about an English text are kept, with evidence as it is printed; without it they are vague."""
    german = {**COOL, "question": "Warum bleiben Stahlwalzen kalt?", "answer": "Durch hohle Wellen fließt Kühlwasser."}
    kept = Copied(manner=Manner(language="German")).read(json.dumps([german]), task(1))
    assert [pair.evidence for pair in kept.pairs] == [COOL["evidence"]]
    assert read([german]).rejected == {"vague": 1}


def test_rows_of_the_chunk_are_untouched() -> None:
    """What is read never changes with how the chunk is laid out."""
    assert GROUNDED.read(json.dumps([COOL]), task(1, text=joined(TEXT))) == read([COOL], 1)
