"""The recipe "grounded" for small models: what is worth asking about, what the model is held to, what is kept."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import chunk

from engine.requests import Request
from jobs.generation.evidence import sentences, worth_asking
from jobs.generation.grounded import Grounded, Reading, Task
from jobs.generation.pair_checks import GroundedPair
from jobs.models.chat import Malformed

CHUNK = """2.1 Checkpoints

A checkpoint line names the byte at which the rows of one finished input end. The engine truncates the data file
to the last committed byte after a crash, because rows beyond it have no checkpoint. This costs little (Smith et al.
2020). See Fig. 3 for the order of a commit in the engine and its journal. Grouped commits wait for the disk once
for all rows that arrived while the last batch was being written."""

BYTE = "A checkpoint line names the byte at which the rows of one finished input end."
CRASH = (
    "The engine truncates the data file to the last committed byte after a crash, "
    "because rows beyond it have no checkpoint."
)
GROUPED = "Grouped commits wait for the disk once for all rows that arrived while the last batch was being written."


SMALL = Grounded(chooses=True)


def evidence_request(text: str, *, title: str = "", count: int = 2) -> Request | None:
    return SMALL.request(Task(chunk=chunk("c", text=text or " ", title=title), count=count))


def parse_reply(answer: str, text: str) -> Reading:
    return SMALL.read(answer, Task(chunk=chunk("c", text=text), count=9))


def reply(*pairs: tuple[Any, Any, Any]) -> str:
    names = ("evidence", "question", "answer")
    return json.dumps({f"pair_{number}": dict(zip(names, pair, strict=True)) for number, pair in enumerate(pairs, 1)})


GOOD = (
    CRASH,
    "Why does the engine truncate the data file after a crash?",
    "It truncates the file because rows beyond the last committed byte have no checkpoint.",
)


def test_sentences_end_where_a_reader_ends_them() -> None:
    """Abbreviations, initials and numbers end no sentence; an empty line does."""
    text = "As Smith et al. Show, J. R. Doe (cf. Fig. 2) saw 3.5 K. It was\ncold! Why?\n\nA heading\n\nMore."
    assert sentences(text) == [
        "As Smith et al. Show, J. R. Doe (cf. Fig. 2) saw 3.5 K. It was cold!",
        "Why?",
        "A heading",
        "More.",
    ]


def test_only_sentences_that_stand_for_themselves_are_worth_asking() -> None:
    """Headings, "This …" and what points at a figure are left out; the others keep their order."""
    assert worth_asking(CHUNK) == [BYTE, CRASH, GROUPED]


@pytest.mark.parametrize(
    "sentence",
    [
        "It was then used by all of the teams in the group for many years.",
        "However, this makes the whole of the method slower than the others are.",
        "We compare our method with the methods of all the others in the field.",
        "The results of the ablation are shown in Table 2 for all of the models.",
        "Let f(x) = a x + b y + c z be the loss, so that g h i j k follow from it.",
        "The accuracies were 12.5 13.7 14.8 15.9 16.0 17.1 18.2 19.3 20.4 and 21.5.",
        "Copyright is held by the authors of the article and by nobody else in law.",
        "Kurtoglu M, Yanar H, Bilsel Y: Venous thromboembolism prophylaxis after head trauma in adults.",
        "the sentence begins in the middle because the chunk was cut within a long one.",
        "Too short a sentence.",
        "A sentence that has no end because the page or the chunk ended in the middle of",
    ],
)
def test_what_a_reader_could_not_be_asked_about_is_left_out(sentence: str) -> None:
    """Unresolved words, pointers, formulas, numbers, front matter, references and fragments are no evidence."""
    assert worth_asking(sentence) == []


def test_a_citation_within_a_sentence_is_no_reference() -> None:
    """A sentence that ends in a citation is still prose."""
    sentence = "Edge computing brings the storage of data nearer to the users of it (Alwarafy et al., 2020)."
    assert worth_asking(sentence) == [sentence]


def test_a_list_of_references_is_not_asked_about() -> None:
    """Titles in a bibliography are whole sentences, but nothing to ask about; no request is made for it."""
    text = """Trivedi, H. and Khot, T. 2022. Interleaving retrieval with reasoning for multi-step questions of all kinds.
    In Proceedings of ACL, 10:539-554. Yang, A. and Hui, B. 2024. Large language models are better reasoners now."""
    assert evidence_request(text) is None


def schema_of(text: str, count: int) -> dict[str, Any]:
    request = evidence_request(text, title="The Mill", count=count)
    assert request is not None
    assert request.schema is not None
    return dict(request.schema.schema)


def test_each_pair_chooses_among_sentences_of_its_own() -> None:
    """The schema deals the sentences out in order, so two pairs never share one, and asks for evidence first."""
    schema = schema_of(CHUNK, 2)
    assert [schema["properties"][name]["properties"]["evidence"]["enum"] for name in schema["required"]] == [
        [BYTE],
        [CRASH, GROUPED],
    ]
    assert list(schema["properties"]["pair_1"]["properties"]) == ["evidence", "question", "answer"]


def test_no_more_pairs_are_asked_for_than_there_are_sentences() -> None:
    """Five pairs of three sentences are three pairs, in the schema, in the words and in the length allowed."""
    assert len(schema_of(CHUNK, 5)["required"]) == 3
    request = evidence_request(CHUNK, count=5)
    assert request is not None
    assert "Write 3 questions" in request.messages[-1]["content"]
    assert request.max_output_tokens == 3 * 400


def test_the_prompt_begins_with_what_all_requests_share() -> None:
    """Instructions first, for the prefix cache; then title and text as they are, braces included."""
    text = CHUNK + " The set {a, b} has two elements and no more than these two elements in it."
    one, other = evidence_request(CHUNK, title="One"), evidence_request(text, title="{title}")
    assert one is not None
    assert other is not None
    assert one.messages[0] == other.messages[0]
    assert text in other.messages[1]["content"]
    assert "Paper: {title}" in other.messages[1]["content"]


@given(st.text(max_size=400), st.integers(1, 5))
def test_any_text_makes_a_request_or_none(text: str, count: int) -> None:
    """No text breaks the recipe, and every choice of the schema stands in the text."""
    request = evidence_request(text, count=count)
    if request is not None:
        assert request.schema is not None
        pairs = request.schema.schema["properties"].values()
        joined = " ".join(text.split())
        assert all(choice in joined for pair in pairs for choice in pair["properties"]["evidence"]["enum"])


def test_a_good_pair_is_kept() -> None:
    """Evidence that stands in the chunk but for line ends, a question that names things, an answer from it."""
    reading = parse_reply(reply(GOOD), CHUNK)
    assert reading.pairs == (GroundedPair(evidence=GOOD[0], question=GOOD[1], answer=GOOD[2]),)
    assert reading.rejected == {}


@pytest.mark.parametrize(
    ("reason", "pair"),
    [
        ("not_evidence", ("Rows beyond the last committed byte have no checkpoint after a crash.", *GOOD[1:])),
        ("not_a_question", (CRASH, "The engine truncates the data file after a crash.", GOOD[2])),
        ("not_a_question", (CRASH, "Truncated why?", GOOD[2])),
        ("points_at_text", (CRASH, "According to the excerpt, why is the data file truncated after a crash?", GOOD[2])),
        ("points_at_text", (CRASH, GOOD[1], "The authors say that rows beyond the byte have no checkpoint.")),
        ("points_at_text", (CRASH, "Why is the data file truncated in Figure 3?", GOOD[2])),
        ("vague", (CRASH, "What is the main purpose of the method?", GOOD[2])),
        ("vague", (CRASH, "What has no checkpoint?", "Rows beyond the last committed byte have none.")),
        ("vague", (CRASH, "What is the capital city of northern France?", GOOD[2])),
        ("unfinished", (CRASH, GOOD[1], "")),
        ("unfinished", (CRASH, GOOD[1], "Rows beyond it have no checkpoint. " * 12)),
        ("says_nothing", (CRASH, GOOD[1], "The engine truncates the data file after a crash.")),
        ("says_nothing", (CRASH, GOOD[1], GOOD[1])),
        ("not_grounded", (CRASH, GOOD[1], "It saves electricity and keeps the processor of the machine cool.")),
        ("not_grounded", (CRASH, GOOD[1], "Because 17 rows beyond the committed byte have no checkpoint.")),
        ("out_of_context", (CRASH, GOOD[1], f"However, {GOOD[2]}")),
        ("out_of_context", (CRASH, GOOD[1], f"{GOOD[2]} • Rows beyond it have no checkpoint.")),
        ("vague", (CRASH, "What are some reasons for the engine to truncate the data file after a crash?", GOOD[2])),
        ("malformed", (CRASH, GOOD[1], None)),
        ("malformed", (CRASH, GOOD[1], GOOD[2] + "\ud800")),
    ],
)
def test_a_bad_pair_is_counted_by_its_reason(reason: str, pair: tuple[Any, Any, Any]) -> None:
    """Each check rejects what it is for, and a good pair beside it stays."""
    reading = parse_reply(reply(pair, GOOD), CHUNK)
    assert dict(reading.rejected) == {reason: 1}
    assert [kept.question for kept in reading.pairs] == [GOOD[1]]


def test_a_short_question_about_a_name_is_kept() -> None:
    """ "What is X?" is a question where X is a name that the evidence explains."""
    evidence = "BoboCEP is a complex event processing engine for systems of the Internet of Things."
    pair = (evidence, "What is BoboCEP?", "BoboCEP is a complex event processing engine.")
    assert len(parse_reply(reply(pair), evidence).pairs) == 1


def test_citations_are_taken_out_of_the_answer() -> None:
    """A citation that the model copies along is no part of the answer; the evidence keeps it."""
    evidence = "Edge computing brings storage nearer to its users (Alwarafy et al., 2020) than the cloud does [7, 9]."
    answer = "Edge computing brings storage nearer to its users (Alwarafy et al., 2020) than the cloud [7]."
    pair = (evidence, "What does edge computing bring nearer to its users than cloud storage?", answer)
    (kept,) = parse_reply(reply(pair), evidence).pairs
    assert kept.evidence == evidence
    assert kept.answer == "Edge computing brings storage nearer to its users than the cloud."


def test_a_repeated_question_is_kept_once() -> None:
    """The same words in another order are the same question."""
    again = (CRASH, "After a crash, why does the engine truncate the data file?", GOOD[2])
    reading = parse_reply(reply(GOOD, again), CHUNK)
    assert len(reading.pairs) == 1
    assert reading.rejected == {"duplicate": 1}


def test_an_answer_from_the_neighbouring_sentence_takes_it_as_evidence() -> None:
    """The evidence of a kept pair is the sentence that supports its answer, whichever the model copied."""
    pair = (BYTE, *GOOD[1:])
    assert [kept.evidence for kept in parse_reply(reply(pair), CHUNK).pairs] == [CRASH]


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[3]", '{"pair_1": 3}', '{"pair_1": {}}', '{"pairs": ["a"]}', reply(GOOD)[:-10]]
)
def test_what_is_no_reply_is_malformed(text: str) -> None:
    """Torn or foreign JSON, and JSON without a pair, is said to be malformed, so that the model is asked again."""
    with pytest.raises(Malformed):
        parse_reply(text, CHUNK)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)
    )
)
def test_no_reply_breaks_the_reading(value: Any) -> None:
    """Whatever JSON comes back, it is read as pairs, counted or malformed."""
    with contextlib.suppress(Malformed):
        assert parse_reply(json.dumps(value), CHUNK).pairs == ()
