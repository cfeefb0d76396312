from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import chunk

from engine.datasets import Dataset
from engine.errors import BadInput, Fatal, Permanent
from engine.requests import Call, Reply, Request
from engine.runner import Retry, run
from engine.signals import Stop
from jobs.generation.ask import Asked, ask
from jobs.generation.quota import Quota, Wanted
from jobs.generation.shares import Spread
from jobs.records import Chunk, Question

Setting = tuple[int, int | None]


async def no_call(request: Request) -> Reply:
    raise AssertionError("the recipe of these tests makes no request")


@dataclass
class Mill:
    """A run of `ask` alone. ``asked`` has each chunk and number that was asked for, ``told`` the questions told to it."""

    folder: Path
    asked: list[tuple[str, int]] = field(default_factory=list)
    told: list[tuple[str, ...]] = field(default_factory=list)
    die_after: int | None = None
    broken: Sequence[str] = ()

    @property
    def chunks(self) -> Dataset[Chunk]:
        return Dataset(self.folder / "chunks", Chunk)

    @property
    def questions(self) -> Dataset[Question]:
        return Dataset(self.folder / "questions", Question)

    def deal(self, *sizes: int, first: int = 0) -> None:
        for shard, size in enumerate(sizes, start=first):
            self.chunks.write_sealed(shard, [chunk(f"c{shard}x{place}") for place in range(size)])

    async def recipe(self, wanted: Wanted, call: Call) -> list[Asked]:
        chunk, count, existing = wanted.chunk, wanted.count, wanted.existing
        if self.die_after is not None and len(self.asked) >= self.die_after:
            raise Fatal("the power is gone")
        self.asked.append((chunk.id, count))
        self.told.append(tuple(row.question for row in existing))
        if chunk.id in self.broken:
            raise Permanent("no answer", kind="broken")
        return [Asked(question=f"{chunk.id} {len(existing) + number}?") for number in range(count)]

    async def grind(
        self, per_chunk: int, cap: int | None = None, *, retry: Retry = lambda job, failure: False, slots: int = 4
    ) -> list[tuple[str, int]]:
        """Run to the end, and return what was asked for in this run."""
        self.asked, self.told = [], []
        datasets = {"chunks": self.chunks, "questions": self.questions}
        job = ask(
            recipe=self.recipe,
            quota=Quota(datasets["chunks"], datasets["questions"], per_chunk=per_chunk, cap=cap),
            side_of_question=None,
            fingerprint={"questions_per_chunk": per_chunk, "max_questions": cap},
            slots=slots,
        )
        await run([job], datasets, no_call, stop=Stop(), hook=lambda event: None, retry=retry)
        return self.asked

    def has(self) -> Counter[str]:
        """The questions of each chunk."""
        return Counter(row.chunk_id for row in self.questions.rows())

    def bytes(self) -> list[bytes]:
        return [self.questions.shard(shard).data.read_bytes() for shard in self.questions.sealed()]

    def counts(self) -> list[int]:
        has = self.has()
        return [has[row.id] for row in self.chunks.rows()]


@pytest.fixture
def mill(tmp_path: Path) -> Mill:
    return Mill(tmp_path)


# How a cap is spread.


def spread(sizes: Sequence[int], more: int, most: int) -> list[int]:
    """What chunks that have these numbers of questions get."""
    give = Spread(Counter(sizes), more, most=most)
    return [give(has) for has in sizes]


@given(st.integers(0, 60), st.integers(1, 5), st.integers(1, 80))
def test_a_first_cap_is_spread_as_by_every_release(chunks: int, most: int, cap: int) -> None:
    """Chunk number j gets the whole numbers between j·cap/N and (j+1)·cap/N: runs that have begun so go on so."""
    old = [min(most, (number + 1) * cap // chunks - number * cap // chunks) for number in range(chunks)]
    assert spread([0] * chunks, cap, most) == old
    for end in range(chunks + 1):
        assert abs(sum(old[:end]) - min(cap / max(1, chunks), most) * end) < 1


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(-5, 80), st.integers(1, 5))
def test_what_is_added_is_even_and_exact(has: list[int], more: int, most: int) -> None:
    """As many as are left and fit; those with the fewest first, so that no chunk is ahead by what was added to it."""
    added = spread(has, more, most)
    room = sum(max(0, most - count) for count in has)
    assert sum(added) == min(max(0, more), room)
    after = [count + new for count, new in zip(has, added, strict=True)]
    for count, new in zip(after, added, strict=True):
        assert not new or count <= min(after) + 1


# What is asked.


async def test_without_a_cap(mill: Mill) -> None:
    """Every chunk gets the same, and nothing is written down."""
    mill.deal(2, 0, 3)
    await mill.grind(3)
    assert mill.counts() == [3] * 5
    assert not (mill.questions.folder / "quota.json").exists()


@pytest.mark.slow
@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=1, max_size=4),
    st.tuples(st.integers(1, 2), st.integers(1, 12)),
    st.booleans(),
)
async def test_raised_again_and_again(
    sizes: list[int], raises: list[tuple[int, int]], first: tuple[int, int], unbounded: bool
) -> None:
    """However the settings grow: only the difference is asked for, and the rows of before begin each shard."""
    with TemporaryDirectory() as folder:
        mill = Mill(Path(folder))
        mill.deal(*sizes)
        steps: list[Setting] = [first]
        for per_chunk, cap in raises:
            steps.append((steps[-1][0] + per_chunk, (steps[-1][1] or 0) + cap))
        steps += [(steps[-1][0], None)] * unbounded
        before, had = [b""] * len(sizes), 0
        for per_chunk, most in steps:
            asked = await mill.grind(per_chunk, most)
            has = sum(mill.counts())
            room = sum(sizes) * per_chunk
            assert has == (room if most is None else min(most, room))
            assert sum(count for _, count in asked) == has - had
            assert max(mill.counts(), default=0) - min(mill.counts(), default=0) <= 1
            after = mill.bytes()
            assert all(new.startswith(old) for old, new in zip(before, after, strict=True))
            before, had = after, has
            assert not await mill.grind(per_chunk, most)
            assert mill.bytes() == after


async def test_a_hundred_become_three_hundred(mill: Mill) -> None:
    """Two hundred more are asked; each shard begins with the rows that it had, and no chunk is asked twice."""
    mill.deal(150, 90, 160)
    first = await mill.grind(1, 100)
    before = mill.bytes()
    more = await mill.grind(1, 300)
    assert (len(first), len(more)) == (100, 200)
    assert len({id_ for id_, _ in first + more}) == 300
    assert mill.told == [()] * 200
    for old, new in zip(before, mill.bytes(), strict=True):
        assert new.startswith(old)
        assert len(new) > len(old)
    rows = list(mill.questions.rows())
    assert sorted(row.raised for row in rows) == [0] * 100 + [1] * 200
    assert b'"raised"' not in b"".join(before)


@pytest.mark.parametrize("cap", [None, 50])
async def test_one_more_about_each_chunk(mill: Mill, cap: int | None) -> None:
    """Each chunk is asked for one more, and told the question that it has; the new ones stand behind all old ones."""
    mill.deal(3, 2)
    await mill.grind(1, cap)
    before = mill.bytes()
    assert sorted(await mill.grind(2, cap)) == [(row.id, 1) for row in mill.chunks.rows()]
    assert sorted(mill.told) == [(f"{row.id} 0?",) for row in mill.chunks.rows()]
    assert mill.counts() == [2] * 5
    assert all(new.startswith(old) for old, new in zip(before, mill.bytes(), strict=True))
    assert sorted(await mill.grind(4, cap)) == [(row.id, 2) for row in mill.chunks.rows()]
    assert ("c0x0 0?", "c0x0 1?") in mill.told
    rows = list(mill.questions.rows())
    assert len({row.id for row in rows}) == len({row.question for row in rows}) == 20
    assert {row.parent for row in rows} == {row.id for row in mill.chunks.rows()}


async def test_a_cap_that_holds(mill: Mill) -> None:
    """More questions for each chunk are no more questions while the cap stays."""
    mill.deal(10)
    await mill.grind(1, 10)
    assert not await mill.grind(2, 10)


async def test_the_cap_is_taken_away(mill: Mill) -> None:
    """Then each chunk gets what it lacks; shards that come later get all at once."""
    mill.deal(6, 6)
    await mill.grind(2, 8)
    assert sorted(mill.counts()) == [0] * 4 + [1] * 8
    assert sum(count for _, count in await mill.grind(2)) == 24 - 8
    assert mill.counts() == [2] * 12
    mill.deal(3, first=2)
    assert sorted(await mill.grind(2)) == [(f"c2x{place}", 2) for place in range(3)]


async def test_a_lower_number_is_refused(mill: Mill) -> None:
    """What was paid for is not dropped: one line, and the run goes on with the old number."""
    mill.deal(10)
    await mill.grind(1, 8)
    before = mill.bytes()
    with pytest.raises(
        BadInput, match=r"ask has made more than that: max_questions was 8, is 4\. What was paid for is not dropped"
    ):
        await mill.grind(1, 4)
    assert not await mill.grind(1, 8)
    assert mill.bytes() == before


# Kills.


@pytest.mark.slow
@pytest.mark.parametrize("steps", [[(1, 6), (1, 15)], [(1, None), (2, None)], [(2, 6), (3, 50)], [(1, 9), (2, None)]])
async def test_killed_in_the_middle_of_a_raise(tmp_path: Path, steps: list[Setting]) -> None:
    """Wherever it dies, it ends with the bytes of an undisturbed raise, and nothing that was committed is asked again."""
    whole = Mill(tmp_path / "whole")
    whole.deal(7, 5, 8)
    for step in steps:
        wanted = await whole.grind(*step)
    for die_after in range(0, len(wanted), 3):
        mill = Mill(tmp_path / str(die_after))
        mill.deal(7, 5, 8)
        await mill.grind(*steps[0])
        asked: list[tuple[str, int]] = []
        mill.die_after = die_after
        with pytest.raises(Fatal, match="the power is gone"):
            await mill.grind(*steps[1])
        asked += mill.asked
        mill.die_after = 1
        with pytest.raises(Fatal, match="the power is gone"):
            await mill.grind(*steps[1])
        asked += mill.asked
        mill.die_after = None
        asked += await mill.grind(*steps[1])
        assert sorted(asked) == sorted(wanted)
        assert mill.bytes() == whole.bytes()
        assert (mill.questions.folder / "quota.json").read_bytes() == (
            whole.questions.folder / "quota.json"
        ).read_bytes()


@pytest.mark.parametrize("steps", [[(1, 12), (2, 30), (2, 35)], [(1, None), (2, None), (3, None)]])
async def test_raised_in_the_middle(mill: Mill, steps: list[Setting]) -> None:
    """A raise of what is not finished asks for all that is lacking, a chunk with no question in one request."""
    mill.deal(10, 10)
    asked: list[tuple[str, int]] = []
    for step in steps[:-1]:
        mill.die_after = 7
        with pytest.raises(Fatal, match="the power is gone"):
            await mill.grind(*step, slots=1)
        asked += mill.asked
    mill.die_after = None
    asked += await mill.grind(*steps[-1])
    per_chunk, cap = steps[-1]
    assert sum(count for _, count in asked) == sum(mill.counts()) == min(cap or 60, 20 * per_chunk)
    assert max(mill.counts()) - min(mill.counts()) <= 1
    untouched = {row.id for row in mill.chunks.rows()} - {id_ for id_, _ in asked[:14]}
    assert all(count == 1 for count in Counter(id_ for id_, _ in asked if id_ in untouched).values())
    assert not await mill.grind(*steps[-1])


async def test_raised_before_anything_was_asked(mill: Mill) -> None:
    """Then the run is as if it had begun so."""
    mill.deal(10)
    mill.die_after = 0
    with pytest.raises(Fatal, match="the power is gone"):
        await mill.grind(1, 3)
    mill.die_after = None
    assert len(await mill.grind(1, 6)) == 6
    assert {row.raised for row in mill.questions.rows()} == {0}


async def test_killed_between_the_settings_and_the_shares(mill: Mill) -> None:
    """The settings are taken over before the shares are written: a run that dies between goes on with the new ones."""
    mill.deal(10, 10)
    await mill.grind(1, 6)
    for cap in (10, 14):
        mill.questions.claim(
            "ask", {"questions_per_chunk": 1, "max_questions": cap}, raisable=("questions_per_chunk", "max_questions")
        )
    assert len(await mill.grind(1, 14)) == 8
    assert not await mill.grind(1, 14)


# Failures, papers that come later, and runs of earlier releases.


@pytest.mark.parametrize("steps", [[(1, 8)], [(1, 8), (2, 30)], [(1, None), (2, None)]])
async def test_what_failed_is_tried_again_in_its_place(tmp_path: Path, steps: list[Setting]) -> None:
    """A failed chunk has had its share; a retry gives it its rows in the order of a run where nothing failed."""
    whole, mill = Mill(tmp_path / "whole"), Mill(tmp_path / "mill")
    for each in (whole, mill):
        each.deal(6, 6)
        await each.grind(*steps[0])
    mill.broken = [sorted(whole.has())[2]]
    for step in steps[1:]:
        await whole.grind(*step)
        await mill.grind(*step)
    if len(steps) == 1:
        shutil.rmtree(mill.questions.folder)
        await mill.grind(*steps[0])
    lost = sum(whole.counts()) - sum(mill.counts())
    assert lost >= 1
    mill.broken = []
    assert not await mill.grind(*steps[-1])
    assert sum(count for _, count in await mill.grind(*steps[-1], retry=lambda job, failure: True)) == lost
    assert mill.bytes() == whole.bytes()


async def test_papers_that_come_later(mill: Mill) -> None:
    """They get the share that they would have had; a retry, then or after a raise, drops nothing of the old shards."""
    mill.deal(20)
    mill.broken = ["c0x4"]
    await mill.grind(1, 10)
    assert mill.counts()[4] == 0
    before = mill.bytes()
    mill.deal(20, first=1)
    assert len(await mill.grind(1, 10)) == 5
    assert mill.bytes()[:1] == before
    mill.broken = []
    old = mill.has()
    asked = await mill.grind(1, 10, retry=lambda job, failure: True)
    assert asked in ([], [("c0x4", 1)])
    assert mill.has() >= old
    assert sum(count for _, count in await mill.grind(1, 30, retry=lambda job, failure: True)) == 30 - sum(
        old.values()
    ) - len(asked)
    assert mill.has() >= old


async def test_a_paper_that_can_be_read_now(mill: Mill) -> None:
    """A shard that has got more chunks keeps its questions, and gets as many as it would have had."""
    mill.deal(10, 10)
    await mill.grind(1, 10)
    old = mill.has()
    mill.chunks.write_sealed(0, [chunk(f"new{place}") for place in range(10)] + mill.chunks.read(0))
    await mill.grind(1, 10)
    assert mill.has() >= old
    assert len(mill.asked) == sum((mill.has() - old).values()) == 1
    await mill.grind(1, 15)
    assert sum(mill.counts()) == 15


@pytest.mark.parametrize("die_after", [4, None])
async def test_a_run_of_an_earlier_release(tmp_path: Path, die_after: int | None) -> None:
    """It has no shares written down: it goes on with the same bytes, and can be raised."""
    whole, mill = Mill(tmp_path / "whole"), Mill(tmp_path / "mill")
    for each in (whole, mill):
        each.deal(6, 6, 6)
    await whole.grind(2, 10)
    mill.die_after = die_after
    if die_after:
        with pytest.raises(Fatal, match="the power is gone"):
            await mill.grind(2, 10, slots=1)
    else:
        await mill.grind(2, 10)
    path = mill.questions.folder / "quota.json"
    path.unlink()
    mill.die_after = None
    await mill.grind(2, 10)
    assert mill.bytes() == whole.bytes()
    assert path.read_bytes() == (whole.questions.folder / "quota.json").read_bytes()
    path.unlink()
    before = mill.bytes()
    assert sum(count for _, count in await mill.grind(2, 25)) == 15
    assert all(new.startswith(old) for old, new in zip(before, mill.bytes(), strict=True))


@pytest.mark.parametrize("damage", [None, b"", b"[]", b'{"grants": []}', b'{"grants": [{"questions_per_chunk": 1}]}'])
@pytest.mark.parametrize("raised", [(2, None), (2, 12)])
async def test_lost_shares_of_a_raised_run(mill: Mill, damage: bytes | None, raised: Setting) -> None:
    """Nothing is asked and nothing dropped where they are lost: one line with the remedy."""
    mill.deal(4, 4)
    await mill.grind(1, raised[1] and 5)
    await mill.grind(*raised)
    before = mill.bytes()
    path = mill.questions.folder / "quota.json"
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(Fatal, match=r"quota.json is .*how many questions each chunk was given; .*--redo ask"):
        await mill.grind(*raised)
    assert mill.bytes() == before
    assert mill.asked == []


async def test_shares_of_another_run(mill: Mill) -> None:
    """A file with more grants than the run has is not that run's."""
    mill.deal(4)
    await mill.grind(1, 2)
    await mill.grind(1, 3)
    identity = json.loads((mill.questions.folder / "job.json").read_bytes())
    (mill.questions.folder / "job.json").write_text(json.dumps({**identity, "raised": []}), "utf-8")
    with pytest.raises(Fatal, match=re.escape("quota.json does not fit the rows beside it")):
        await mill.grind(1, 3)
