"""The critic: one request a pair, and a rubric that is read robustly."""

from __future__ import annotations

import json

import msgspec
import pytest
from samples import chunk, pair, processed

from engine.errors import Permanent
from engine.job import ShardRows
from engine.testing import scripted
from jobs.config import Curate
from jobs.curation.critique import critique, read_rubric, refused
from jobs.models.chat import Malformed
from jobs.records import Critique, Probe

GOOD = json.dumps({"feedback": "Clear.", "grounded": 4, "standalone": 2, "useful": 5})


def rated(**ratings: int) -> Critique:
    values = {"grounded": 5, "standalone": 5, "useful": 5} | ratings
    return Critique(id="c", parent="p", feedback="So.", **values)


async def test_one_request_for_each_pair_that_is_left() -> None:
    """Pairs that break a rule, were not found or could not be embedded are not paid for again."""
    settings = Curate(round_trip=True, critic=True)
    pairs = [pair(name, chunk="c") for name in ("p1", "p2", "p3")]
    pairs.append(pair("p4", chunk="c", text="What is shown in Figure 3?"))
    probes = [Probe(id="1", parent="p1", vector="", rank=0), Probe(id="2", parent="p2", vector="", rank=None)]
    shard = ShardRows(0, {"pairs": pairs, "chunks": [chunk("c", text="A {mill}.")], "probes": probes})
    call = scripted(GOOD)
    [row] = await processed(critique(settings=settings, max_tokens=300, fingerprint={}, slots=1), shard, call)
    assert (row.parent, row.grounded, row.standalone, row.useful, row.feedback) == ("p1", 4, 2, 5, "Clear.")
    [request] = call.requests
    assert (request.to, request.max_output_tokens) == ("judge", 300)
    said = request.messages[0]["content"]
    assert all(part in said for part in ("A {mill}.", "What does p1 ask?", "The answer of p1."))


async def test_an_answer_that_is_no_rubric_is_a_failure() -> None:
    """After its repairs the pair fails as malformed: it is neither kept nor refused."""
    job = critique(
        settings=Curate(round_trip=False, near_duplicates=False, critic=True), max_tokens=9, fingerprint={}, slots=1
    )
    shard = ShardRows(0, {"pairs": [pair("p", chunk="c")], "chunks": [chunk("c")]})
    [failed] = await processed(job, shard, scripted("Good.", "5", '{"grounded": 9}'))
    assert isinstance(failed, Permanent)
    assert failed.kind == "malformed"


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "Here it is: {} That is all."])
def test_what_stands_around_it_is_left_out(around: str) -> None:
    """Models wrap JSON in fences and in words."""
    assert read_rubric(around.format(GOOD) if around != "{}" else GOOD).standalone == 2


@pytest.mark.parametrize("answer", ["", "}{", "{}", GOOD.replace("2", "6"), GOOD.replace("2", "0"), GOOD[:-5]])
def test_what_is_no_rubric(answer: str) -> None:
    """A rating that is missing or outside of the scale is no rating."""
    with pytest.raises(Malformed, match="from 1 to 5"):
        read_rubric(answer)


def test_the_lowest_rating_decides() -> None:
    """One rating below what passes refuses the pair, with its name and the critic's words."""
    assert refused(rated(useful=3), Curate()) is None
    found = refused(rated(useful=2, grounded=4), Curate())
    assert found is not None
    assert (found.reason, found.detail) == ("critic", "useful 2 of 5: So.")
    assert refused(rated(useful=2), Curate(critic_passing=2)) is None


async def test_the_critic_of_a_pair_over_two_chunks_sees_both() -> None:
    """It could not say whether the answer is grounded otherwise."""
    both = msgspec.structs.replace(pair("p", chunk="c"), second_chunk_id="d")
    settings = Curate(round_trip=False, near_duplicates=False, critic=True)
    shard = ShardRows(0, {"pairs": [both], "chunks": [chunk("c", text="A {mill}."), chunk("d", text="A seal.")]})
    call = scripted(GOOD)
    await processed(critique(settings=settings, max_tokens=9, fingerprint={}, slots=1), shard, call)
    assert "A {mill}.\n\nA seal." in call.requests[0].messages[0]["content"]
