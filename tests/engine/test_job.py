from __future__ import annotations

from pathlib import Path

import pytest
from fake_disk import Books, Row, grow

from engine.errors import BadInput
from engine.job import Item, Job, Pipeline, Step, downstream, find, until


async def nothing() -> None:
    pass


@pytest.fixture
def pipeline() -> Pipeline:
    def job(name: str, reads: tuple[str, ...], writes: str, *waits_for: str) -> Job:
        return (
            grow(name, reads=reads[0], writes=writes, books=Books())
            if not waits_for and len(reads) == 1
            else Job(
                name=name,
                reads=reads,
                writes=writes,
                row=Row,
                expand=lambda rows: [],
                process=_process,
                waits_for=waits_for,
            )
        )

    return [
        Step(name="deal", run=nothing, writes="papers"),
        job("parse", ("papers",), "chunks"),
        job("ask", ("chunks",), "questions"),
        job("answer", ("questions", "chunks"), "pairs"),
        job("index", ("chunks",), "vectors"),
        job("augment", ("pairs",), "examples", "index"),
        Step(name="export", run=nothing, waits_for=("augment",)),
    ]


async def _process(value: object, call: object) -> list[Row]:
    return []


def names(pipeline: Pipeline) -> list[str]:
    return [step.name for step in pipeline]


def test_find(pipeline: Pipeline) -> None:
    """A job is found by its name; a name that is none is answered with those that there are."""
    assert find(pipeline, "ask").writes == "questions"
    with pytest.raises(BadInput, match="no job 'aks'; the jobs are deal, parse, ask"):
        find(pipeline, "aks")


def test_until(pipeline: Pipeline) -> None:
    """A pipeline can be cut behind a job."""
    assert names(until(pipeline, "ask")) == ["deal", "parse", "ask"]
    assert names(until(pipeline, "export")) == names(pipeline)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deal", ["deal", "parse", "ask", "answer", "index", "augment", "export"]),
        ("ask", ["ask", "answer", "augment", "export"]),
        ("index", ["index", "augment", "export"]),
        ("augment", ["augment", "export"]),
        ("export", ["export"]),
    ],
)
def test_downstream(pipeline: Pipeline, name: str, expected: list[str]) -> None:
    """What is made from a job's rows, directly or not, or waits for it, is remade with it; the rest is not."""
    assert names(downstream(pipeline, name)) == expected


def test_items_take_names_only(tmp_path: Path) -> None:
    """Items are frozen, slotted values."""
    item = Item(id="a", value=1)
    with pytest.raises(AttributeError):
        item.id = "b"
    with pytest.raises(TypeError):
        Item("a", 1)
    assert not hasattr(item, "__dict__")
