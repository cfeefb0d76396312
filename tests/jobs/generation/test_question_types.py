"""Types of questions: whose turn it is, which two chunks one question is about, and what is asked and kept."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import chunk as sample

from engine.errors import BadInput
from engine.records import decode, encode
from engine.testing import scripted
from jobs.config.generation import QUESTION_TYPES
from jobs.generation.ask import ask, grounded
from jobs.generation.copied import Copied
from jobs.generation.grounded import Form, Task
from jobs.generation.question_types import MULTI_STEP, TYPES, Types, second_chunk
from jobs.generation.quota import Wanted
from jobs.generation.stated import Stated
from jobs.records import Chunk, Pair, Question
from jobs.run.configfile import validate

SHARES = {"fact": 0.4, "how": 0.2, "why": 0.2, "compare": 0.1, "number": 0.05, "multi_step": 0.05}


def chunk(name: str, text: str = "", *, position: int = 0, split: str = "train") -> Chunk:
    return msgspec.structs.replace(sample(name, text=text, split=split), position=position)


# Shares


def test_the_types_are_those_of_the_configuration() -> None:
    """Each has a meaning that the model is told."""
    assert (*TYPES, MULTI_STEP) == QUESTION_TYPES


def test_shares_are_kept() -> None:
    """Of many chunks' questions each type has its share, within what chance allows."""
    types = Types(shares=SHARES, seed=7)
    counts = Counter(name for number in range(5000) for name in types.of(f"chunk {number}", 2))
    for name, share in SHARES.items():
        assert counts[name] / 10_000 == pytest.approx(share, abs=4 * (share * (1 - share) / 5000) ** 0.5)


@given(st.dictionaries(st.sampled_from(QUESTION_TYPES), st.integers(0, 9)), st.integers(0, 5), st.integers(0, 5))
def test_a_chunk_that_is_asked_for_more_keeps_its_types(shares: dict[str, int], first: int, more: int) -> None:
    """The types depend on the chunk and the number of the question alone; a type without a share is never drawn."""
    whole = sum(shares.values())
    types = Types(shares={name: share / whole for name, share in shares.items()} if whole else {})
    all_of_them = types.of("c", first + more)
    assert all_of_them == types.of("c", first) + types.of("c", more, before=first)
    assert all(shares[name] for name in all_of_them)
    assert len(all_of_them) == (first + more if whole else 0)
    alone = types.of("c", first + more, alone=True)
    assert MULTI_STEP not in alone
    if MULTI_STEP not in all_of_them:
        assert not all_of_them or len(alone) in (0, len(all_of_them))


def test_no_types_by_default() -> None:
    """Nothing is drawn, and another seed draws otherwise."""
    assert Types().of("c", 3) == ()
    one, other = (Types(shares=SHARES, seed=seed) for seed in (0, 1))
    assert [one.of(f"{n}", 2) for n in range(20)] != [other.of(f"{n}", 2) for n in range(20)]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ({"types": {"fact": 0.5, "reason": 0.5}}, "ask.types.reason: there is no such type; known: fact, how, why,"),
        ({"types": {"fact": 0.5, "why": 0.4}}, "ask.types: the shares are 0.9 together, and must be 1"),
        ({"types": {"fact": 1.5, "why": -0.5}}, "ask.types.fact = 1.5: a share is from 0 to 1"),
        ({"types": {"fact": 1.0}, "recipe": "llama-index"}, 'set ask.recipe = "grounded"'),
    ],
)
def test_shares_that_are_none(ask: dict[str, Any], said: str) -> None:
    """One line says what to change."""
    with pytest.raises(BadInput) as refused:
        validate({"ask": ask})
    assert said in str(refused.value)


def test_types_need_the_recipe_that_asks_for_them() -> None:
    """ "auto" is then "grounded", for an endpoint and in a run that began otherwise, which its fingerprint refuses."""
    remote = {"models": {"generator": {"model": "m"}, "judge": {"model": "m"}}}
    plain = validate(remote).resolved(papers=3)
    typed = validate({**remote, "ask": {"types": {"why": 1.0}}})
    assert plain.ask.recipe == "llama-index"
    assert typed.resolved(papers=3).ask.recipe == "grounded"
    assert typed.resolved(papers=3, before=plain).ask.recipe == "grounded"
    old = validate({**remote, "ask": {"recipe": "evidence"}}).resolved(papers=3)
    assert typed.resolved(papers=3, before=old).ask.recipe == "evidence"


# Two chunks

MILL = "The Ajax mill grinds wheat between steel rollers that water cools from within their hollow shafts."
SPEED = "Hourly the Ajax rollers produce 42 kg of flour when their shafts carry twelve litres of water."
BREAD = "Bakers of the old town prefer bread whose crust breaks loudly under their thumbs in the morning."


def test_the_second_chunk_shares_rare_words_and_no_border() -> None:
    """It is the most similar one that is no neighbour, of the same split; a neighbour only where there is no other."""
    paper = [
        chunk("a", MILL, position=0),
        chunk("b", MILL, position=1),
        chunk("c", BREAD, position=2),
        chunk("d", SPEED, position=5),
        chunk("e", MILL, position=6, split="val"),
    ]
    found = second_chunk(paper[0], paper)
    assert found is not None
    assert found.id == "d"
    assert second_chunk(paper[0], list(reversed(paper))) == found
    assert second_chunk(paper[0], paper[:2]) == paper[1]
    assert second_chunk(paper[0], [paper[0], paper[4]]) is None


def test_what_is_wanted_gets_types_and_a_second_chunk() -> None:
    """A chunk without a second one gets other types instead, and one that has nothing to ask about is none."""
    give = Types(shares={"multi_step": 0.5, "why": 0.5}).typed(lambda each: each.id != "c")
    paper = [chunk(name, MILL, position=place) for place, name in enumerate("abcd")]
    wanted = Wanted(chunk=paper[0], count=4)
    typed = give(wanted, paper)
    assert set(typed.types) == {"multi_step", "why"}
    assert typed.second is not None
    assert typed.second.id == "d"
    assert give(wanted, paper[:1]).types == ("why",) * 4
    assert give(wanted, paper[:1]).second is None
    only = Types(shares={"multi_step": 1.0}).typed(lambda each: True)
    assert only(wanted, paper[:1]).types == ()


# What is asked, and what is kept

BOTH = {
    "evidence": MILL,
    "second_evidence": SPEED,
    "type": "multi_step",
    "question": "How are the rollers kept cool that let the Ajax mill produce 42 kg of flour an hour?",
    "answer": "Twelve litres of water flow through their hollow shafts while the rollers produce 42 kg of flour.",
}
WHY = {
    "evidence": BREAD,
    "type": "why",
    "question": "Which bread do bakers of the old town prefer?",
    "answer": "Bakers of the old town prefer bread whose crust breaks loudly.",
}
FIRST, SECOND = chunk("c", f"{MILL} {BREAD}"), chunk("d", SPEED, position=9)
TASK = Task(chunk=FIRST, count=2, types=("multi_step", "why"), second=SECOND)


@pytest.mark.parametrize("form", [Copied(), Stated()])
def test_the_request_names_the_types_and_shows_both_excerpts(form: Form) -> None:
    """In their order, with their meaning."""
    request = form.request(TASK)
    assert request is not None
    assert request.schema is not None
    said = request.messages[1]["content"]
    assert "of these types, in this order: multi_step, why." in said
    assert f"Second excerpt:\n{SPEED}" in said
    assert '"multi_step" (what follows only from a fact of the first excerpt' in said


def test_one_schema_for_the_same_types() -> None:
    """Whatever the chunk and the order of the types."""
    one, other = (Copied().request(each) for each in (TASK, Task(chunk=SECOND, count=2, types=TASK.types[::-1])))
    assert one is not None
    assert one.schema is not None
    assert one.schema.schema["properties"]["pairs"]["items"]["properties"]["type"]["enum"] == ["why", "multi_step"]
    assert other is not None
    assert other.schema == one.schema


def test_without_types_no_request_changes() -> None:
    """Neither words nor schema speak of types over two chunks."""
    for form in (Copied(), Stated()):
        request = form.request(Task(chunk=FIRST, count=2))
        assert "multi_step" not in str(request)
        assert "in this order: " not in str(request and request.messages[1])


def read(*pairs: dict[str, Any], form: Form = Copied()) -> Any:  # noqa: B008 - it cannot change
    return form.read(json.dumps({"pairs": list(pairs)}), TASK)


def test_a_pair_over_two_chunks_is_kept_with_both() -> None:
    """Whichever excerpt the model tells first; beside it a pair of another type has one."""
    swapped = {**BOTH, "evidence": SPEED, "second_evidence": MILL}
    for told in (BOTH, swapped):
        two, one = read(told, {**WHY, "second_evidence": "Anything."}).pairs
        assert (two.type, two.evidence, two.second_evidence) == ("multi_step", MILL, SPEED)
        assert (one.type, one.evidence, one.second_evidence) == ("why", BREAD, "")


def test_a_small_model_is_told_the_type_of_each_pair() -> None:
    """So it need not say it."""
    untold = [{key: pair[key] for key in ("question", "answer")} for pair in (BOTH, WHY)]
    assert [pair.type for pair in read(*untold, form=Stated()).pairs] == ["multi_step", "why"]


@pytest.mark.parametrize(
    ("reason", "changed"),
    [
        ("not_evidence", {"second_evidence": ""}),
        ("not_evidence", {"second_evidence": BREAD}),
        ("one_chunk", {"answer": "Water cools the hollow shafts from within."}),
        ("other_type", {"type": "fact"}),
        ("other_type", {"type": "riddle"}),
    ],
)
def test_what_does_not_need_both_is_dropped(reason: str, changed: dict[str, Any]) -> None:
    """Evidence in each chunk, an answer with something of both, and the type that was asked for."""
    reading = read({**BOTH, **changed}, WHY)
    assert reading.rejected == {reason: 1}
    assert [pair.type for pair in reading.pairs] == ["why"]


def test_no_more_of_a_type_than_asked_for() -> None:
    """Two of one type where one of each was asked for are one too many."""
    again = {
        **WHY,
        "evidence": MILL,
        "question": "Why does water cool the steel rollers of the Ajax mill?",
        "answer": MILL,
    }
    assert read(WHY, again).rejected == {"other_type": 1}


async def test_the_row_names_both_chunks() -> None:
    """With evidence of each; what is empty is not written, so rows of runs without types are as they were."""
    recipe = grounded(Copied(), lambda event: None)
    wanted = Wanted(chunk=FIRST, count=2, types=TASK.types, second=SECOND)
    made = ask(recipe=recipe, quota=_NoQuota(), side_of_question=None, fingerprint={}, slots=1)  # type: ignore[arg-type]
    two, one = await made.process(wanted, scripted(json.dumps({"pairs": [BOTH, WHY]})))
    assert isinstance(two, Question)
    assert (two.chunk_id, two.second_chunk_id, two.second_evidence, two.type) == ("c", "d", SPEED, "multi_step")
    assert b"second" not in encode(one)
    assert decode(encode(two), Question) == two
    pair = Pair(id="p", parent="q", chunk_id="c", paper_id="a", question="?", answer="!", split="train")
    assert encode(pair).endswith(b'"split":"train","evidence":"","quotes":[]}\n')
    assert pair.chunk_ids == ["c"]
    assert msgspec.structs.replace(pair, second_chunk_id="d").chunk_ids == ["c", "d"]


class _NoQuota:
    capped = False

    def __getattr__(self, name: str) -> Any:
        return lambda *given: ""
