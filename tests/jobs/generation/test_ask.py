from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.evaluation.dataset_generation import DEFAULT_QUESTION_GENERATION_PROMPT, DatasetGenerator
from llama_index.core.llms import MockLLM
from llama_index.core.prompts import PromptTemplate
from samples import chunk, processed, sealed

from engine.datasets import Dataset
from engine.errors import Permanent
from engine.events import Event, Hook, RowsDropped
from engine.job import Job, ShardRows
from engine.requests import Call
from engine.testing import scripted
from jobs.generation.ask import Asked, Recipe, ask, grounded, llama_index, read_questions
from jobs.generation.copied import Copied
from jobs.generation.evidence import worth_asking
from jobs.generation.grounded import Form, Task
from jobs.generation.quota import Quota, Wanted
from jobs.generation.stated import Stated
from jobs.models.chat import Malformed
from jobs.records import Chunk, Question

GOLDEN = Path(__file__).parents[1] / "golden"
MILL = "What does the mill grind?"
SEAL = "How is a shard sealed?"


def texts(answer: str, count: int = 9) -> list[str]:
    return [asked.question for asked in read_questions(answer, count)]


def job(chunks: Dataset[Chunk], *, recipe: Recipe | None = None, per_chunk: int = 2, cap: int | None = None) -> Job:
    return ask(
        recipe=recipe or llama_index(512),
        quota=Quota(chunks, Dataset(chunks.folder / "questions", Question), per_chunk=per_chunk, cap=cap),
        side_of_question=None,
        fingerprint={},
        slots=4,
    )


@pytest.mark.parametrize(
    "answer",
    [
        f"{MILL}\n{SEAL}",
        f"1. {MILL}\n2. {SEAL}",
        f"1) {MILL}\n2) {SEAL}",
        f"(1) {MILL}\n(2) {SEAL}",
        f"1: {MILL}\n2: {SEAL}",
        f"- {MILL}\n- {SEAL}",
        f"* {MILL}\n• {SEAL}",
        f"- 1. {MILL}\n- 2. {SEAL}",
        f"Q1: {MILL}\nQ2. {SEAL}",
        f"Q: {MILL}\nQ: {SEAL}",
        f"Question 1: {MILL}\nQuestion: {SEAL}",
        f"**Q1:** {MILL}\n**Q2:** {SEAL}",
        f"**Question 1**: {MILL}\n**Question 2**: {SEAL}",
        f"1. **{MILL}**\n2. __{SEAL}__",
        f"**1. {MILL}**\n**2. {SEAL}**",
        f"*{MILL}*\n_{SEAL}_",
        f'1. "{MILL}"\n2. “{SEAL}”',
        f"Sure! Here are two questions:\n\n{MILL}\n\n{SEAL}\n",
        f"Here are 2 questions based on the context:\r\n\r\n1. {MILL}\r\n2. {SEAL}\r\n",
        f"### Questions\n1. {MILL}\n2. {SEAL}\nI hope that this helps.",
        f"1. {MILL}\n2. {MILL}\n3. what does the MILL grind\n4. {SEAL}",
        f"1. \n2. {MILL}\n3.\n- \n{SEAL}",
        f"{MILL}\nThe mill grinds papers.\n{SEAL}\nShards are sealed.",
        f"1. Why?\n2. {MILL}\n3. {SEAL}",
        f"{MILL}\n{'Why ' * 400}?\n{SEAL}",
        f"1. Topics:\n{MILL}\n2. More questions:\n{SEAL}",
    ],
)
def test_sloppy_answers(answer: str) -> None:
    """Numbers, bullets, emphasis, preambles, empty lines, repetitions, statements, fragments and walls are left out."""
    assert texts(answer) == [MILL, SEAL]


def test_an_instruction_with_a_number_counts() -> None:
    """A numbered line without a question mark is kept: exams ask like that too."""
    assert texts("1. Describe how the mill grinds.\nDescribe how it does not.") == ["Describe how the mill grinds."]


def test_a_number_that_belongs_to_the_question() -> None:
    """A question may begin with a number or end in one; only list marks are taken off."""
    asked = ["3 kinds of seal exist; which are they?", "2.5 seconds pass before what happens?", "Who ran Q1 of 2024?"]
    assert texts("\n".join(asked)) == asked


def test_no_more_than_asked_for() -> None:
    """Of too many questions the first are kept."""
    assert texts(f"1. {MILL}\n2. {SEAL}\n3. Who reads the journal?", 2) == [MILL, SEAL]


@pytest.mark.parametrize("answer", ["", "\n \n", "Sure!", "I cannot answer that.", "1.\n2.\n", "Questions:\n", "Why?"])
def test_answers_without_a_question(answer: str) -> None:
    """An answer without a question is malformed, and the fault says what is wanted."""
    with pytest.raises(Malformed, match="Write each question on a line of its own"):
        read_questions(answer, 2)


@given(st.text(max_size=300), st.integers(1, 5))
def test_any_answer(answer: str, count: int) -> None:
    """Whatever a model says: at most so many questions, none empty, none twice, each on one line."""
    try:
        found = texts(answer, count)
    except Malformed:
        return
    assert 1 <= len(found) <= count
    assert len({"".join(filter(str.isalnum, text.casefold())) for text in found}) == len(found)
    assert all(text.strip() == text and len(text.splitlines()) == 1 for text in found)


# The recipes


def llama_index_prompt(text: str, count: int) -> str:
    """What DatasetGenerator itself would send, but for its runs of spaces."""
    with pytest.warns(DeprecationWarning, match="DatasetGenerator"):
        generator = DatasetGenerator(nodes=[], llm=MockLLM(), num_questions_per_chunk=count)
    query = " ".join(generator.question_gen_query.split())
    return PromptTemplate(DEFAULT_QUESTION_GENERATION_PROMPT).format(context_str=text, query_str=query)


@pytest.mark.parametrize("text", ["A mill grinds {papers} to rows.", "Line one.\nLine two: {0} %s \\n “q”"])
async def test_the_request_is_llama_indexs(tmp_path: Path, text: str) -> None:
    """The prompt is what LlamaIndex's own objects make of the chunk; braces in a paper are left alone."""
    call = scripted(f"1. {MILL}\n2. {SEAL}")
    shard = ShardRows(0, {"chunks": [chunk("c", text=text)]})
    await processed(job(Dataset(tmp_path, Chunk)), shard, call)
    [request] = call.requests
    [message] = request.messages
    assert message["role"] == "user"
    assert message["content"].split() == llama_index_prompt(text, 2).split()
    assert text in message["content"]
    assert (request.to, request.max_output_tokens) == ("generator", 512)


async def test_the_golden_request(tmp_path: Path) -> None:
    """The exact request for one chunk is the one that was looked at."""
    call = scripted(MILL)
    await processed(job(Dataset(tmp_path, Chunk)), ShardRows(0, {"chunks": [chunk("c", text="A mill grinds.")]}), call)
    assert {"messages": call.requests[0].messages} == json.loads((GOLDEN / "ask_request.json").read_text("utf-8"))


async def test_rows(tmp_path: Path) -> None:
    """A question's row says where it came from; the same answer gives the same ids, another chunk other ones."""
    rows = ShardRows(0, {"chunks": [chunk("c", split="val"), chunk("d", paper="paper-b")]})
    first = await processed(job(Dataset(tmp_path, Chunk)), rows, scripted(f"{MILL}\n{SEAL}", forever=True))
    again = await processed(job(Dataset(tmp_path, Chunk)), rows, scripted(f"1. {MILL}\n2. {SEAL}", forever=True))
    assert first == again
    assert [(row.question, row.chunk_id, row.parent, row.paper_id, row.split) for row in first] == [
        (MILL, "c", "c", "paper-a", "val"),
        (SEAL, "c", "c", "paper-a", "val"),
        (MILL, "d", "d", "paper-b", "train"),
        (SEAL, "d", "d", "paper-b", "train"),
    ]
    assert len({row.id for row in first}) == 4


async def test_a_split_by_question(tmp_path: Path) -> None:
    """With a split by question the side comes from the question's id, not from its chunk."""
    asked: list[str] = []

    def side(id_: str) -> str:
        asked.append(id_)
        return "val" if len(asked) % 2 else "train"

    made = ask(
        recipe=llama_index(512),
        quota=Quota(Dataset(tmp_path, Chunk), Dataset(tmp_path, Question), per_chunk=2, cap=None),
        side_of_question=side,
        fingerprint={},
        slots=1,
    )
    rows = await processed(made, ShardRows(0, {"chunks": [chunk("c", split="both")]}), scripted(f"{MILL}\n{SEAL}"))
    assert [row.split for row in rows] == ["val", "train"]
    assert [row.id for row in rows] == asked


async def test_an_unreadable_answer_is_repaired(tmp_path: Path) -> None:
    """An answer without questions is asked for again, twice; then the chunk has failed, and nothing is stored."""
    shard = ShardRows(0, {"chunks": [chunk("c"), chunk("d")]})
    call = scripted("No.", SEAL, "No.", "No!", "Never.")
    repaired, failed = await processed(job(Dataset(tmp_path, Chunk)), shard, call)
    assert isinstance(repaired, Question)
    assert isinstance(failed, Permanent)
    assert failed.kind == "malformed"
    assert "There is no question in it" in call.requests[1].messages[-1]["content"]
    assert call.left == 0


SENTENCES = (
    "The engine writes every row before it writes the line that promises it to the journal. "
    "A sealed shard holds its rows in the order of their inputs, so that the bytes never differ. "
    "Workers that crash cost exactly one paper, because the pool starts a fresh process at once."
)


WRITES = {
    "question": "What does the engine write before the line that promises a row?",
    "answer": "The engine writes every row before it writes the line that promises it to the journal.",
}
PAIRS = {"fact_1": WRITES, "fact_2": {"question": "What?", "answer": "Nothing."}}


async def test_the_grounded_recipe(tmp_path: Path) -> None:
    """One call gives question, answer and evidence; pairs that fail a check are dropped and told to the hook."""
    events: list[Event] = []
    rows = ShardRows(0, {"chunks": [chunk("c", text=SENTENCES)]})
    small = Stated(name_paper=False)
    call = scripted(json.dumps(PAIRS))
    made = await processed(job(Dataset(tmp_path, Chunk), recipe=grounded(small, events.append)), rows, call)
    assert call.requests == [small.request(Task(chunk=rows["chunks"][0], count=2))]
    assert [(row.question, row.evidence, row.draft) for row in made] == [
        (WRITES["question"], worth_asking(SENTENCES)[0], WRITES["answer"])
    ]
    assert [type(event) for event in events] == [RowsDropped]


async def test_a_grounded_reply_without_pairs_is_repaired(tmp_path: Path) -> None:
    """What is no JSON is shown to the model and asked for again; then the chunk has failed."""
    rows = ShardRows(0, {"chunks": [chunk("c", text=SENTENCES), chunk("d", text=SENTENCES)]})
    recipe = grounded(Stated(), lambda _: None)
    call = scripted("no JSON", json.dumps(PAIRS), "no", "no", "no")
    repaired, failed = await processed(job(Dataset(tmp_path, Chunk), recipe=recipe), rows, call)
    assert isinstance(repaired, Question)
    assert isinstance(failed, Permanent)
    assert failed.kind == "malformed"
    assert "It is no JSON object with pairs" in call.requests[1].messages[-1]["content"]


@pytest.mark.parametrize("form", [Stated(), Copied()])
async def test_a_chunk_without_sentences(tmp_path: Path, form: Form) -> None:
    """A chunk with nothing worth asking about costs no request and is no failure."""
    rows = ShardRows(0, {"chunks": [chunk("c", text="1 2 3")]})
    recipe = grounded(form, lambda _: None)
    assert await processed(job(Dataset(tmp_path, Chunk), recipe=recipe), rows, scripted()) == []


# More questions about a chunk that has some


def old(text: str, *, evidence: str = "", draft: str = "") -> Question:
    return Question(
        id=text, parent="c", chunk_id="c", paper_id="p", question=text, split="train", evidence=evidence, draft=draft
    )


def wanted(*existing: Question) -> Wanted:
    return Wanted(chunk=chunk("c", text=SENTENCES), count=1, existing=existing)


async def another(call: Call, hook: Hook = lambda event: None) -> list[str]:
    """One more question about a chunk that has one."""
    wanted = Wanted(chunk=chunk("c"), count=1, raised=1, before=1, existing=[old(MILL)])
    quota = Quota(Dataset(Path(), Chunk), Dataset(Path(), Question), per_chunk=1, cap=None)
    made = ask(recipe=llama_index(512), quota=quota, side_of_question=None, fingerprint={}, slots=1, hook=hook)
    rows = [row for row in await made.process(wanted, call) if isinstance(row, Question)]
    assert all(row.raised == 1 and made.origin(row) == "c.1" for row in rows)
    return [row.question for row in rows]


async def test_no_question_twice() -> None:
    """The request for one more names the question that is there; of the answer the first other one counts."""
    call, events = scripted(SEAL, f"1. {MILL.upper()}\n2. {SEAL}\n3. Who runs the mill?", MILL), list[Event]()
    await llama_index(512)(Wanted(chunk=chunk("c"), count=1), call)
    assert await another(call, events.append) == [SEAL]
    assert events == []
    assert await another(call, events.append) == []
    assert events == [RowsDropped(job="ask", reasons={"duplicate": 1})]
    before, after, _ = (request.messages[0]["content"] for request in call.requests)
    added = f"These questions have been set up already:\n- {MILL}\nAsk about something else"
    assert added in after
    assert added not in before
    assert set(before.split()) < set(after.split())


async def test_grounded_questions_besides_others() -> None:
    """Evidence is used once: the model sees the questions that there are, and one of them again is dropped."""
    events = list[Event]()
    recipe = grounded(Copied(), events.append)
    first = {**WRITES, "evidence": worth_asking(SENTENCES)[0], "type": "fact"}
    [new] = await recipe(wanted(), scripted(json.dumps([first])))
    there = [old(new.question, evidence=new.evidence, draft=new.draft)]
    call = scripted(json.dumps([first]))
    assert await recipe(wanted(*there), call) == []
    assert events == [RowsDropped(job="ask", reasons={"duplicate": 1})]
    [request] = call.requests
    assert new.question in request.messages[1]["content"]


async def test_sentences_besides_others() -> None:
    """A small model is asked about sentences that have no question yet; without any there is no request."""
    recipe = grounded(Stated(), lambda _: None)
    first, *others = worth_asking(SENTENCES)
    call = scripted(json.dumps(PAIRS))
    await recipe(wanted(old("What of it?", evidence=first)), call)
    [request] = call.requests
    assert request.messages[1]["content"].count(first) == 1  # in the excerpt, but not among the facts
    assert all(f". {sentence}\n" in request.messages[1]["content"] for sentence in others)
    used = [old(f"What about {number}?", evidence=text) for number, text in enumerate([first, *others])]
    assert await recipe(wanted(*used), scripted()) == []


# The cap


def test_what_a_cap_waits_for(tmp_path: Path) -> None:
    """Only a cap waits for all chunks."""
    chunks = sealed(tmp_path / "chunks", Chunk, [chunk("c")])
    assert job(chunks, cap=3).waits_for == ("parse",)
    assert job(chunks).waits_for == ()


def test_what_is_asked_is_a_value() -> None:
    """Two readings of one answer are equal."""
    assert read_questions(MILL, 1) == [Asked(question=MILL)]
