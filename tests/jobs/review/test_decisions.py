from __future__ import annotations

import msgspec
from decided import about, decision
from hypothesis import given
from hypothesis import strategies as st
from samples import pair

from engine.records import encode
from jobs.records import Pair, Quote, Review
from jobs.review.decisions import edited, standing, used

PAIRS = [pair(name, chunk="c") for name in ("one", "two", "three")]


def rows(*reviews: Review) -> list[Review]:
    """With ids, as a log gives them."""
    return [msgspec.structs.replace(review, id=f"r{place}") for place, review in enumerate(reviews)]


def test_the_last_decision_on_a_pair_counts() -> None:
    """Whoever made it; other pairs are as they were."""
    found = standing(rows(decision("a"), decision("b", "reject"), decision("a", "reject"), decision("a", "edit")))
    assert {name: review.decision for name, review in found.items()} == {"a": "edit", "b": "reject"}


def test_an_undo_takes_back_the_row_that_it_names() -> None:
    """The decision before it counts again; one that somebody else has made meanwhile stays."""
    decided = rows(decision("a"), decision("a", "reject"), decision("a", "undo", undoes="r1"))
    assert standing(decided)["a"].decision == "accept"
    both = rows(decision("a"), decision("a", "reject"), decision("a", "undo", undoes="r0"))
    assert standing(both)["a"].decision == "reject"
    assert standing(rows(decision("a"), decision("a", "undo", undoes="r0"))) == {}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["accept", "reject", "undo"]))))
def test_undoing_the_last_of_a_pair_is_as_if_it_had_not_been(steps: list[tuple[str, str]]) -> None:
    """Whatever was decided before, a decision and its undo change nothing."""
    log: list[Review] = []
    for name, kind in steps:
        there = standing(log).get(name)
        if kind != "undo" or there is not None:
            undone = {"undoes": there.id} if kind == "undo" and there is not None else {}
            log = rows(*log, decision(name, kind, **undone))
    more = rows(*log, decision("a", "edit", question="Other?"))
    assert standing(rows(*more, decision("a", "undo", undoes=more[-1].id))) == standing(log)


def test_rejected_pairs_are_left_out_and_edited_ones_have_their_words() -> None:
    """A person's decision counts for more than curation's; what nobody has reviewed is as curation left it."""
    reviews = [about(PAIRS[0], "reject"), about(PAIRS[1], "edit", question="Better?"), about(PAIRS[2])]
    found = list(used(PAIRS, None, reviews))
    assert [(row.id, row.question) for row in found] == [("two", "Better?"), ("three", PAIRS[2].question)]
    assert [row.id for row in used(PAIRS, {"one"}, reviews)] == ["two", "three"], "curation had kept the rejected one"
    assert list(used(PAIRS, {"one", "two"}, [])) == PAIRS[:2]
    assert list(used(PAIRS, None, [])) == PAIRS


def test_an_edit_is_another_version_of_the_same_pair() -> None:
    """The pair keeps its id; rows are made from the version, which its words decide."""
    original = PAIRS[0]
    one, same, other = (edited(original, about(original, "edit", answer=text)) for text in ("A.", "A.", "B."))
    assert {original.id} == {one.id, other.id}
    assert original.version == original.id
    assert one.version == same.version
    assert len({original.version, one.version, other.version}) == 3
    assert edited(original, about(original, "edit")) is original, "the same words"


def test_quotes_that_an_edited_answer_does_not_hold_are_gone() -> None:
    """Those that it still holds stay where they stand in the chunk."""
    kept, lost = Quote(text="two stones", start=3, end=13), Quote(text="a third", start=20, end=27)
    quoting = msgspec.structs.replace(PAIRS[0], quotes=[kept, lost])
    found = edited(quoting, about(quoting, "edit", answer="It has two stones."))
    assert found.quotes == [kept]


def test_a_pair_is_written_as_before() -> None:
    """A version is no field: neither a pair's line nor that of an edited one has anything new in it."""
    assert msgspec.json.decode(encode(edited(PAIRS[0], about(PAIRS[0], "edit", answer="A."))), type=Pair).answer == "A."
    assert b"version" not in encode(PAIRS[0])
