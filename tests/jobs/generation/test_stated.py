"""The recipe "grounded" for small models: what the model is asked, what it is held to, and which pairs are kept."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from checkpoint_chunk import BYTE, CHUNK, CRASH, GROUPED
from hypothesis import given
from hypothesis import strategies as st
from samples import chunk

from engine.requests import Request
from jobs.generation.grounded import Reading, Task
from jobs.generation.manner import Manner
from jobs.generation.pair_checks import GroundedPair
from jobs.generation.stated import Stated
from jobs.models.chat import Malformed
from jobs.models.prompts import own_prompt

TITLE = "Crash-Safe Commits"

STATED = Stated()
ABOUT_BYTE = ("What does a checkpoint line name?", "It names the byte at which the rows of one finished input end.")
ABOUT_CRASH = (
    "Why does the engine truncate the data file after a crash?",
    "It truncates the file because rows beyond the last committed byte have no checkpoint.",
)
ABOUT_GROUPED = (
    "How often do grouped commits wait for the disk?",
    "Grouped commits wait once for all rows that arrived while the last batch was being written.",
)


def task(count: int = 2, *, text: str = CHUNK, title: str = "", **changed: Any) -> Task:
    return Task(chunk=chunk("c", text=text or " ", title=title), count=count, **changed)


def asked(count: int = 2, *, form: Stated = STATED, **changed: Any) -> Request:
    request = form.request(task(count, **changed))
    assert request is not None
    return request


def schema_of(request: Request) -> dict[str, Any]:
    assert request.schema is not None
    return dict(request.schema.schema)


def reply(*pairs: tuple[Any, Any]) -> str:
    named = (dict(zip(("question", "answer"), pair, strict=True)) for pair in pairs)
    return json.dumps({f"fact_{number}": pair for number, pair in enumerate(named, 1)})


def read(*pairs: tuple[Any, Any], count: int = 3, form: Stated = STATED, **changed: Any) -> Reading:
    return form.read(reply(*pairs), task(count, **changed))


# The request


def test_the_request_states_more_sentences_than_pairs_are_wanted() -> None:
    """Twice as many, if there are so many; the schema has a question and an answer for each, with bounded lengths."""
    one, more = asked(1), asked(5)
    assert one.messages[-1]["content"].endswith(
        f"Facts of the excerpt:\n1. {CRASH}\n2. {GROUPED}\n\nWrite one question with its answer for each fact."
    )
    assert f"1. {BYTE}\n2. {CRASH}\n3. {GROUPED}\n" in more.messages[-1]["content"]
    assert schema_of(one)["required"] == ["fact_1", "fact_2"]
    assert schema_of(more)["required"] == ["fact_1", "fact_2", "fact_3"]
    for pair in schema_of(more)["properties"].values():
        assert list(pair["properties"]) == ["question", "answer"]
        assert all(text["maxLength"] <= 400 for text in pair["properties"].values())
    assert more.max_output_tokens == 3 * 200


def test_the_prompt_begins_with_what_all_requests_share() -> None:
    """Instructions first, for the prefix cache; then title and text as they are, braces included."""
    text = CHUNK + " The set {a, b} has two elements and no more than these two elements in it."
    one, other = asked(title="One"), asked(title="{title}", text=text)
    assert one.messages[0] == other.messages[0]
    assert one.messages[0]["content"] == own_prompt("stated_system")
    assert text in other.messages[1]["content"]
    assert "Paper: {title}" in other.messages[1]["content"]


def test_a_users_prompt_is_followed_by_the_facts() -> None:
    """They are what the schema asks for."""
    request = asked(1, form=Stated(own="Ask {count} times about {text}"))
    assert [message["content"] for message in request.messages] == [
        f"Ask 2 times about {CHUNK}\n\nFacts of the excerpt:\n1. {CRASH}\n2. {GROUPED}"
    ]


def test_types_are_dealt_over_the_facts() -> None:
    """Each type has as many facts more than it is wanted; a question over two chunks has a fact of each."""
    second = chunk("d", text="Batches of rows were written in groups to make the disk work less often.")
    request = asked(2, types=("why", "multi_step"), second=second)
    content = request.messages[-1]["content"]
    assert "They are of these types, in this order: why, multi_step, why.\n" in content
    assert f"2. {CRASH} And, from the second excerpt: {second.text}\n" in content
    assert f"{CHUNK}\n\nSecond excerpt:\n{second.text}" in content


@given(st.text(max_size=400), st.integers(1, 5))
def test_any_text_makes_a_request_or_none(text: str, count: int) -> None:
    """No text breaks the recipe; there is a request where something can be asked."""
    assert (STATED.request(task(count, text=text)) is not None) is STATED.can_ask(chunk("c", text=text or " "))


# The reply


def test_a_good_pair_is_kept() -> None:
    """With the sentence that it was asked about as its evidence."""
    reading = read(ABOUT_BYTE)
    assert reading.pairs == (GroundedPair(evidence=BYTE, question=ABOUT_BYTE[0], answer=ABOUT_BYTE[1]),)
    assert reading.rejected == {}


@pytest.mark.parametrize(
    ("reason", "question", "answer"),
    [
        ("not_a_question", "The engine truncates the data file after a crash.", None),
        ("not_a_question", "Truncated why?", None),
        ("points_at_text", "According to the excerpt, why is the data file truncated after a crash?", None),
        ("points_at_text", None, "The authors say that rows beyond the byte have no checkpoint."),
        ("points_at_text", "Why is the data file truncated in Figure 3?", None),
        ("vague", "What is the main purpose of the method?", None),
        ("vague", "What has no checkpoint?", "Rows beyond the last committed byte have none."),
        ("vague", "What is the capital city of northern France?", None),
        ("vague", "What are some reasons for the engine to truncate the data file after a crash?", None),
        ("unfinished", None, ""),
        ("unfinished", None, "Rows beyond it have no checkpoint. " * 12),
        ("symbols", "Why is the data file truncated to the byte n after a crash?", None),
        ("symbols", "Why is the data file truncated if a crash has λ > 0?", None),
        ("says_nothing", None, "The engine truncates the data file after a crash."),
        ("says_nothing", None, ABOUT_CRASH[0]),
        ("says_nothing", "Why does the engine truncate the data file to the last committed byte?", "After a crash."),
        (
            "says_nothing",
            "Why does the engine truncate the data file to the last committed byte after a crash?",
            f"{CRASH.partition(',')[0]} beyond a checkpoint.",
        ),
        ("points_back", "Why does this engine truncate the data file after a crash?", None),
        ("points_back", None, "These rows beyond the last committed byte have no checkpoint."),
        ("about_a_source", "Which study truncates the data file of the engine after a crash?", None),
        ("about_a_source", "Where can the data file of the engine be found after a crash?", None),
        ("about_a_source", None, "The file is truncated by, who found rows beyond the byte without a checkpoint."),
        ("off_evidence", "Which wheels, belts and shafts of the watermill does the engine turn fastest?", None),
        ("not_grounded", None, "It saves electricity and keeps the processor of the machine cool."),
        ("not_grounded", None, "Because 17 rows beyond the committed byte have no checkpoint."),
        ("not_grounded", ABOUT_BYTE[0].replace("line", "line of a crash"), ABOUT_BYTE[1]),
        ("out_of_context", None, f"{ABOUT_CRASH[1]} • Rows beyond it have no checkpoint."),
        ("malformed", None, 3),
        ("malformed", None, ABOUT_CRASH[1] + "\ud800"),
    ],
)
def test_a_bad_pair_is_counted_by_its_reason(reason: str, question: str | None, answer: Any) -> None:
    """Each check rejects what it is for, and good pairs beside it stay."""
    bad = (ABOUT_CRASH[0] if question is None else question, ABOUT_CRASH[1] if answer is None else answer)
    reading = read(ABOUT_BYTE, bad, ABOUT_GROUPED)
    assert dict(reading.rejected) == {reason: 1}
    assert [kept.question for kept in reading.pairs] == [ABOUT_BYTE[0], ABOUT_GROUPED[0]]


def test_a_bad_pair_is_no_loss_where_others_are_enough() -> None:
    """Reasons are counted for the pairs that lack, and nothing lacks."""
    reading = read(ABOUT_BYTE, ("Why?", "No."), ABOUT_GROUPED, count=2)
    assert len(reading.pairs) == 2
    assert reading.rejected == {}


def test_the_best_pairs_are_kept_in_the_order_of_the_text() -> None:
    """An answer that leaves out half of its sentence is worse than one that does not."""
    half = (ABOUT_GROUPED[0], "They wait once for all rows.")
    assert [kept.evidence for kept in read(ABOUT_BYTE, ABOUT_CRASH, half, count=2).pairs] == [BYTE, CRASH]
    assert [kept.evidence for kept in read(half, ABOUT_CRASH, ABOUT_GROUPED, count=2).pairs] == [CRASH, GROUPED]


def test_a_repeated_question_is_kept_once() -> None:
    """The same words in another order are the same question; so is one that was asked before."""
    text = f"{CRASH} The engine truncates the file after a crash because rows beyond the committed byte have no checkpoint."
    again = ("After a crash, why does the engine truncate the data file?", ABOUT_CRASH[1])
    assert len(read(ABOUT_CRASH, again, text=text).pairs) == 1
    before = read(ABOUT_CRASH, ABOUT_GROUPED, count=1).pairs
    [used] = [pair.evidence for pair in before]
    rest = STATED.request(task(3, besides=before))
    assert rest is not None
    assert f". {used}" not in rest.messages[-1]["content"]
    assert STATED.request(task(3, besides=read(ABOUT_BYTE, ABOUT_CRASH, ABOUT_GROUPED).pairs)) is None


def test_as_many_of_a_type_as_are_wanted() -> None:
    """A better pair of another type does not take its place."""
    wanted = {"types": ("why", "number"), "count": 2}
    reading = read(ABOUT_BYTE, ABOUT_CRASH, ABOUT_GROUPED, **wanted)
    assert [(pair.type, pair.evidence) for pair in reading.pairs] == [("why", BYTE)]
    assert reading.rejected == {"no_number": 1}


def test_a_question_over_two_chunks_needs_both() -> None:
    """Its answer says something of each."""
    second = chunk("d", text="The journal of the engine is kept on a disk of its own in Basel.")
    over = {"types": ("multi_step",), "second": second, "count": 1, "text": CRASH}
    both = "It truncates the file as rows beyond the last committed byte have no checkpoint in the journal in Basel."
    question = "Why does the engine truncate its data file after a crash?"
    [pair] = read((question, both), **over).pairs
    assert (pair.evidence, pair.second_evidence) == (CRASH, second.text)
    assert read((question, ABOUT_CRASH[1]), **over).rejected == {"one_chunk": 1}


# The title of the paper


def test_a_question_is_given_the_title_that_it_needs() -> None:
    """One that names nothing of the title, or speaks of the authors; an answer may speak of them then."""
    spoken = ("Why did the authors truncate the data file after a crash?", f"We say: {ABOUT_CRASH[1]}")
    reading = read(ABOUT_BYTE, spoken, title=TITLE)
    assert [pair.question for pair in reading.pairs] == [
        f"In “{TITLE}”, what does a checkpoint line name?",
        f"Why did the authors of “{TITLE}” truncate the data file after a crash?",
    ]
    assert reading.pairs[1].answer == f"The authors say: {ABOUT_CRASH[1]}"


def test_titles_can_be_left_out() -> None:
    """Then a question that speaks of the authors is dropped, as one without a title is."""
    spoken = ("Why did the authors truncate the data file after a crash?", ABOUT_CRASH[1])
    for changed in ({"form": Stated(name_paper=False), "title": TITLE}, {"title": ""}):
        reading = read(ABOUT_BYTE, spoken, **changed)
        assert [pair.question for pair in reading.pairs] == [ABOUT_BYTE[0]]
        assert reading.rejected == {"points_at_text": 1}


def test_a_language_that_is_named() -> None:
    """Questions in German about an English text are held to its numbers alone; the title stands before them."""
    german = ("Warum kürzt die Maschine ihre Datei?", "Weil hinter dem letzten Byte nichts mehr gilt.")
    form = Stated(manner=Manner(language="German"))
    [pair] = read(german, form=form, title=TITLE).pairs
    assert pair.question == f"“{TITLE}”: Warum kürzt die Maschine ihre Datei?"
    assert read((german[0], "Weil 17 Zeilen fehlen."), form=form, title=TITLE).rejected == {"not_grounded": 1}


def test_an_answer_hangs_on_nothing_before_it() -> None:
    """The word that links a sentence to the one before is taken out."""
    hanging = (ABOUT_CRASH[0], f"However, it {ABOUT_CRASH[1].partition(' ')[2]}")
    [kept] = read(hanging, text=f"However, {CRASH}").pairs
    assert kept.answer == ABOUT_CRASH[1]


def test_citations_are_taken_out_of_the_answer() -> None:
    """A citation that the model copies along is no part of the answer; the evidence keeps it."""
    evidence = "Edge computing brings storage nearer to its users (Alwarafy et al., 2020) than the cloud does [7, 9]."
    answer = "Edge computing brings storage nearer to its users (Alwarafy et al., 2020) than the cloud [7]."
    (kept,) = read(("What does edge computing do for its users?", answer), text=evidence).pairs
    assert kept.evidence == evidence
    assert kept.answer == "Edge computing brings storage nearer to its users than the cloud."


# What is no reply


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[3]", '{"fact_1": 3}', '{"fact_1": {}}', '{"pairs": ["a"]}', reply(ABOUT_BYTE)[:-10]]
)
def test_what_is_no_reply_is_malformed(text: str) -> None:
    """Torn or foreign JSON, and JSON without a pair, is malformed, so that the model is asked again."""
    with pytest.raises(Malformed):
        STATED.read(text, task())


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)
    )
)
def test_no_reply_breaks_the_reading(value: Any) -> None:
    """Whatever JSON comes back, it is read as pairs, counted or malformed."""
    with contextlib.suppress(Malformed):
        assert STATED.read(json.dumps(value), task()).pairs == ()
