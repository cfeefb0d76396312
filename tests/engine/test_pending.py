from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_disk import Row, contents

from engine.datasets import Dataset
from engine.errors import Fatal, Permanent
from engine.job import Item, Job, ShardRows
from engine.pending import finished, pending
from engine.records import Record, make_id
from engine.requests import Call, Reply, Request
from engine.runner import run
from engine.signals import Stop


async def no_call(request: Request) -> Reply:
    raise AssertionError("the job of these tests makes no request")


@dataclass
class Mill:
    """Rows of a source, and a job that makes `each` rows of every one, fails at "bad" ones, and dies at "deadly" ones."""

    folder: Path
    each: int = 1
    worked: list[str] = field(default_factory=list)

    def datasets(self) -> dict[str, Dataset[Any]]:
        return {name: Dataset(self.folder / name, Row) for name in ("source", "flour")}

    def job(self) -> Job:
        return Job(
            name="grind",
            reads=("source",),
            writes="flour",
            row=Row,
            expand=self.expand,
            process=self.process,
            variant=lambda: str(self.each),
            slots=1,
        )

    def expand(self, shard: ShardRows) -> Iterator[Item]:
        for row in shard["source"]:
            yield from (Item(id=f"{row.id}{number}", value=(row, number)) for number in range(self.each))

    async def process(self, value: tuple[Row, int], call: Call) -> Sequence[Record]:
        row, number = value
        if row.text == "deadly":
            raise Fatal("dead")
        self.worked.append(f"{row.id}{number}")
        if row.text == "bad":
            raise Permanent("bad", kind="bad")
        return [Row(id=make_id(row.id, number), parent=f"{row.id}{number}", text="")] if row.text else []

    def left(self) -> list[str]:
        return [item.id for item in pending(self.job(), self.datasets())]

    async def grind(self) -> list[str]:
        self.worked = []
        await run([self.job()], self.datasets(), no_call, stop=Stop(), hook=lambda event: None)
        return self.worked


def deal(mill: Mill, shard: int, *texts: str) -> None:
    rows = [Row(id=f"{shard}{place}-", parent="", text=text) for place, text in enumerate(texts)]
    mill.datasets()["source"].write_sealed(shard, rows)


async def test_what_is_left_is_what_a_run_does(tmp_path: Path) -> None:
    """Before the first run, in the middle, at the end, after new rows and after another variant; nothing is touched."""
    mill = Mill(tmp_path)
    deal(mill, 0, "a", "bad", "")
    deal(mill, 1, "b", "deadly", "c")
    assert mill.left() == ["00-0", "01-0", "02-0", "10-0", "11-0", "12-0"]
    with pytest.raises(Fatal, match="dead"):
        await mill.grind()
    before = contents(tmp_path)
    assert mill.left() == ["11-0", "12-0"]
    assert contents(tmp_path) == before
    deal(mill, 1, "b", "alive", "c")
    assert await mill.grind() == ["11-0", "12-0"]
    assert mill.left() == []
    assert [finished(mill.datasets()["flour"], shard, mill.job().origin) for shard in range(2)] == [
        {"00-0": 1, "01-0": 0, "02-0": 0},
        {"10-0": 1, "11-0": 1, "12-0": 1},
    ]
    deal(mill, 2, "d")
    assert mill.left() == ["20-0"]
    mill.each = 2
    left = mill.left()
    assert left == ["00-1", "01-1", "02-1", "10-1", "11-1", "12-1", "20-0", "20-1"]
    assert await mill.grind() == left
    assert mill.left() == []
