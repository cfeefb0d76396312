from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT

from engine.errors import BadInput
from engine.events import Event, Note, ShardSealed
from engine.runner import run
from engine.signals import Stop
from engine.testing import scripted
from jobs.cli.verify import damage
from jobs.generation import deal_pairs as given
from jobs.generation.deal_pairs import configured, deal_pairs
from jobs.run.configfile import load
from jobs.run.folder import RunFolder, beginning

ONE = {"question": "What grinds?", "answer": "A mill.", "contexts": ["A {mill} grinds.", "Stones turn."]}
TWO = {"question": "Who grinds?", "answer": "The miller.", "paper": "On Mills"}
THREE = {"question": "Where?", "answer": "In Ghent.", "paper": "On Mills"}


class Run:
    """A run in a folder whose pairs are dealt from one file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pairs.jsonl"
        self.datasets: dict[str, Any] = {}
        self.events: list[Event] = []
        self._folder = RunFolder(folder / "run")

    async def deal(self, *lines: Any, sample: int = 50) -> None:
        if lines:
            self.path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        self.datasets, self.events, stop = self._folder.datasets(), [], Stop()
        step = deal_pairs(self.path, self.datasets, sample=sample, stop=stop, hook=self.events.append)
        await run([step], self.datasets, scripted(), stop=stop, hook=self.events.append)

    def rows(self, name: str) -> list[Any]:
        return list(self.datasets[name].rows())


@pytest.fixture
def made(tmp_path: Path) -> Run:
    return Run(tmp_path)


async def test_pairs_with_their_contexts(made: Run) -> None:
    """A pair's contexts are chunks that lead back to it, and its prompt is LlamaIndex's with these contexts."""
    await made.deal(ONE, TWO)
    one = made.rows("pairs")[0]
    assert (one.question, one.answer, one.split) == ("What grinds?", "A mill.", "val")
    chunks = made.rows("chunks")
    assert [(chunk.text, chunk.parent) for chunk in chunks] == [(text, one.id) for text in ONE["contexts"]]
    (example,) = made.rows("examples")
    assert example.pair_id == one.id
    assert [context.chunk_id for context in example.contexts] == [chunk.id for chunk in chunks]
    context = "A {mill} grinds.\n\nStones turn."
    assert example.prompt == DEFAULT_TEXT_QA_PROMPT.format(context_str=context, query_str="What grinds?")
    assert beginning(made.datasets) == "pairs"
    assert list(damage(made.datasets)) == []


async def test_papers_of_pairs(made: Run) -> None:
    """Pairs that name one paper are of one paper; a pair that names none stands by itself."""
    await made.deal(ONE, TWO, THREE, {**ONE, "answer": "Another."})
    papers = [pair.paper_id for pair in made.rows("pairs")]
    assert papers[1] == papers[2]
    assert len(set(papers)) == 3


async def test_failures_are_counted(made: Run) -> None:
    """What is no pair, and what says the same again, is a failure of its shard, with its place; each time it is dealt."""
    for _ in range(2):
        await made.deal(ONE, {"question": "Alone?"}, TWO, ONE)
        (seal,) = made.datasets["pairs"].seals()
        assert (seal.inputs, seal.rows) == (4, 2)
        assert [(failed.kind, failed.reason) for failed in seal.failures] == [
            ("no_answer", "line 2: it has no text as answer, response or reference"),
            ("duplicate", "line 4: it says the same as a pair before it"),
        ]
        (told,) = [event for event in made.events if isinstance(event, ShardSealed)]
        assert (told.inputs, told.failed) == (4, 2)


async def test_a_file_that_has_changed(made: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """New pairs are added and gone ones left out; a shard without a change keeps its very files."""
    monkeypatch.setattr(given, "PAIRS_PER_SHARD", 2)
    await made.deal(ONE, TWO, THREE)
    ids = [pair.id for pair in made.rows("pairs")]
    untouched = made.datasets["pairs"].shard(0).data.stat().st_ino
    await made.deal(ONE, TWO, {**THREE, "answer": "In Bruges."}, THREE)
    assert [pair.id for pair in made.rows("pairs")][::3] == ids[::2]
    assert made.datasets["pairs"].shard(0).data.stat().st_ino == untouched
    await made.deal(TWO)
    assert [pair.id for pair in made.rows("pairs")] == ids[1:2]
    assert not made.rows("chunks")
    assert list(damage(made.datasets)) == []


async def test_a_file_that_is_gone(made: Run) -> None:
    """Without its file the run goes on with the pairs that were read; a run that has none yet cannot."""
    with pytest.raises(BadInput, match="cannot read the pairs"):
        await made.deal()
    await made.deal(ONE)
    made.path.unlink()
    await made.deal()
    assert len(made.rows("pairs")) == 1
    assert "is gone" in next(event.text for event in made.events if isinstance(event, Note))


async def test_a_sample_is_told(made: Run) -> None:
    """When not every pair is asked, the user hears it."""
    await made.deal(ONE, TWO, THREE, sample=2)
    assert "2 of 3 pairs are asked" in next(event.text for event in made.events if isinstance(event, Note))
    await made.deal(ONE, TWO, THREE, sample=3)
    assert not [event for event in made.events if isinstance(event, Note)]


def test_the_configuration(tmp_path: Path) -> None:
    """The run knows its file, and its models are told of no paper, unless the configuration says otherwise."""
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(ONE), "utf-8")
    table = configured(path, RunFolder(tmp_path / "run"), None)
    assert table["evaluate"]["pairs"] == str(path)
    assert "paper" not in table["export"]["system_prompt"]
    own = {"export": {"system_prompt": "Mine: {title}"}}
    assert configured(path, RunFolder(tmp_path / "run"), own)["export"]["system_prompt"] == "Mine: {title}"
    assert own == {"export": {"system_prompt": "Mine: {title}"}}


def test_a_prompt_lies_beside_the_configuration(tmp_path: Path) -> None:
    """As in a run of papers, whatever the working folder."""
    (tmp_path / "pairs.jsonl").write_text(json.dumps(ONE), "utf-8")
    (tmp_path / "judge.txt").write_text("{question} {reference} {response}", "utf-8")
    (tmp_path / "mill.toml").write_text('[prompts]\njudge = "judge.txt"\n', "utf-8")
    table = configured(tmp_path / "pairs.jsonl", RunFolder(tmp_path / "run"), load(tmp_path / "mill.toml"))
    assert table["prompts"]["texts"] == {"judge": "{question} {reference} {response}"}
