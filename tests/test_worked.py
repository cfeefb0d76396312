"""The programs of the worked example: papers are cut, pairs of a file are served, examples dealt, answers compared."""

from __future__ import annotations

import csv
import json
import re
import sys
import threading
import urllib.request
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import HTTPError

import pymupdf
import pytest

from jobs.records import Context, Example
from jobs.run.configfile import validate
from jobs.tuning.lora.losses import Loss

WORKED = Path(__file__).resolve().parents[1] / "examples" / "worked"
_OWN = ("outcome", "papers", "plan", "trainings", "written", "batch_server")
_PROSE = "The mill grinds the papers in the order of the list, and it is the list that says what comes first. " * 20


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The modules of the worked example by name."""
    monkeypatch.syspath_prepend(WORKED)
    for name in _OWN:
        sys.modules.pop(name, None)
    yield {name: __import__(name) for name in _OWN}
    for name in _OWN:
        sys.modules.pop(name, None)


def paper(path: Path, *pages: str) -> None:
    with pymupdf.open() as document:
        for text in pages:
            document.new_page(width=900, height=1200).insert_textbox((36, 36, 860, 1160), text, fontsize=8)
        document.save(path)


def test_papers_are_cut_to_pages_of_english_prose(worked: dict[str, ModuleType], tmp_path: Path) -> None:
    """The first pages with running English are kept; a paper in another language is left out; a second run changes
    nothing."""
    (tmp_path / "in").mkdir()
    paper(tmp_path / "in" / "long.pdf", "Title", *[f"{number} {_PROSE}" for number in range(6)])
    paper(tmp_path / "in" / "latin.pdf", *["quia non potest molere sine grano bono " * 60] * 4)
    worked["papers"].main([str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--pages", "3"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["long.pdf"]
    with pymupdf.open(tmp_path / "out" / "long.pdf") as cut:
        assert [page.get_text()[0] for page in cut] == ["0", "1", "2"]
    before = (tmp_path / "out" / "long.pdf").stat().st_mtime_ns
    worked["papers"].main([str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--pages", "3"])
    assert (tmp_path / "out" / "long.pdf").stat().st_mtime_ns == before


def test_listed_papers_are_fetched_by_their_hash(
    worked: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is listed is fetched once; other bytes and a missing file are left out and named."""
    folder = tmp_path / "host" / "owner" / "repo" / "0a"
    folder.mkdir(parents=True)
    (folder / "a paper.pdf").write_bytes(b"whole")
    (folder / "other.pdf").write_bytes(b"other bytes")
    rows = [("one.pdf", b"whole", "a paper.pdf"), ("two.pdf", b"whole", "other.pdf"), ("three.pdf", b"", "gone.pdf")]
    lines = [f"{name},{sha256(data).hexdigest()},owner/repo,{path},0a" for name, data, path in rows]
    (tmp_path / "list.csv").write_text("\n".join(["file,sha256,repository,path,commit", *lines]), "utf-8")
    host = (tmp_path / "host").as_uri()
    found = worked["papers"].fetch(tmp_path / "list.csv", tmp_path / "kept", host)
    assert [(path.name, path.read_bytes()) for path in found] == [("one.pdf", b"whole")]
    said = capsys.readouterr().err
    assert "left out, not the paper that is listed: two.pdf" in said
    assert "cannot fetch three.pdf" in said
    (folder / "a paper.pdf").unlink()
    assert worked["papers"].fetch(tmp_path / "list.csv", tmp_path / "kept", host) == found


def test_the_papers_of_the_committed_pairs_are_listed(worked: dict[str, ModuleType]) -> None:
    with (WORKED / "papers.csv").open(encoding="utf-8", newline="") as lines:
        listed = {row["file"] for row in csv.DictReader(lines)}
    assert {pair["paper"] for pair in worked["written"].read_pairs(WORKED / "pairs.jsonl")} <= listed


def test_a_missing_source_is_named(worked: dict[str, ModuleType], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"there is no .*nowhere"):
        worked["papers"].papers_in([tmp_path / "nowhere"])


def test_written_pairs_answer_for_their_chunk_alone(worked: dict[str, ModuleType], tmp_path: Path) -> None:
    """Over HTTP, a chunk gets the pairs whose evidence it holds, whatever its line breaks; another gets none."""
    pair = {
        "paper": "p.pdf",
        "evidence": "A shard holds the rows of\nthirty two papers in one file.",
        "question": "What does a shard hold?",
        "answer": "A shard holds the rows of thirty two papers.",
    }
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair) + "\n", "utf-8")
    served = worked["written"].server(worked["written"].read_pairs(tmp_path / "pairs.jsonl"))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    try:
        text = "Excerpt:\nA shard holds the rows of thirty two\npapers in one file. Its seal counts them."
        found = json.loads(asked(served.server_port, [{"role": "user", "content": text}]))
        [one] = found["pairs"]
        assert (one["question"], one["answer"]) == (pair["question"], pair["answer"])
        assert "\n" not in one["evidence"]
        other = asked(served.server_port, [{"role": "user", "content": "Excerpt: Seals are small."}])
        assert json.loads(other) == {"pairs": []}
    finally:
        served.shutdown()
        served.server_close()


def test_the_committed_pairs_are_whole(worked: dict[str, ModuleType]) -> None:
    """Each has its four texts, no question stands twice, and there are enough of them on enough papers."""
    pairs = worked["written"].read_pairs(WORKED / "pairs.jsonl")
    assert all(pair[name].strip() for pair in pairs for name in ("paper", "evidence", "question", "answer"))
    assert len({pair["question"] for pair in pairs}) == len(pairs) >= 230
    assert len({pair["paper"] for pair in pairs}) >= 20


@pytest.mark.slow
def test_a_batch_answers_one_model_at_a_time(worked: dict[str, ModuleType]) -> None:
    """Requests for two models that wait together are answered by the one that each names; a failure is a refusal."""

    class Scripted(worked["batch_server"].Decoder):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            import queue

            self.waiting = queue.Queue()
            self.batches: list[tuple[str, int]] = []

        def _decode(self, batch: Any) -> list[tuple[str, int, int]]:
            self.batches.append((batch[0].model, len(batch)))
            if batch[0].model == "gone":
                raise ValueError("there is no adapter gone")
            return [(f"{each.model}: {each.messages[-1]['content']}", 3, 2) for each in batch]

    decoder = Scripted()
    served = worked["batch_server"].server(decoder)
    threading.Thread(target=decoder.work, daemon=True).start()
    threading.Thread(target=served.serve_forever, daemon=True).start()
    try:
        answers: dict[int, str] = {}

        def ask(number: int) -> None:
            turn = [{"role": "user", "content": str(number)}]
            answers[number] = asked(served.server_port, turn, model="base" if number % 2 else "tuned")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == {number: f"{'base' if number % 2 else 'tuned'}: {number}" for number in range(6)}
        assert sum(count for _, count in decoder.batches) == 6
        with pytest.raises(HTTPError, match="400"):
            asked(served.server_port, [{"role": "user", "content": "x"}], model="gone")
    finally:
        served.shutdown()
        served.server_close()


def test_variants_begin_with_the_main_one(worked: dict[str, ModuleType], tmp_path: Path) -> None:
    """Each variant is the common settings with its own over them; a file without the main one first is refused."""
    plan = worked["plan"]
    variants = plan.read_variants()
    assert variants[0].name == plan.MAIN
    names = [variant.name for variant in variants]
    assert all(variant.against in names for variant in variants)
    slow = next(variant for variant in variants if variant.name == "slow")
    assert slow.settings["finetune"]["learning_rate"] < variants[0].settings["finetune"]["learning_rate"]
    assert slow.settings["finetune"]["rank"] == variants[0].settings["finetune"]["rank"]
    assert plan.estimate_min(variants, base="default") > plan.estimate_min(variants, base="small") > 10
    for variant in variants:
        config = validate(plan.laid_over(plan.pair_settings(), variant.settings))
        assert (config.finetune.backend, config.split.by, config.augment.top_k) == ("lora", "paper", 2)
    (tmp_path / "variants.toml").write_text('[common]\n[variants.other]\nwhy = "x"\n', "utf-8")
    with pytest.raises(SystemExit, match="the first variant is to be 'joined'"):
        plan.read_variants(tmp_path / "variants.toml")


def example(number: int, context: int) -> Example:
    split = "train" if number % 3 else "val"
    return Example(
        id=f"e{number}-{context}",
        parent=f"q{number}",
        pair_id=f"q{number}",
        paper_id=f"paper {number}",
        title="T",
        question=f"question {number}?",
        prompt="p",
        answer="a",
        contexts=[Context(chunk_id=f"c{context}", rank=0, score=None)],
        split=split,
    )


def test_only_the_notebook_deals_questions_to_both_sides(worked: dict[str, ModuleType]) -> None:
    """Split by paper no question is on both sides; dealt after augmentation most are; both are the same each time."""
    plan, deal = worked["plan"], worked["trainings"].deal
    rows = [example(number, context) for number in range(60) for context in range(2)]
    clean = deal(rows, plan.Variant(name="separate", why="", settings={}), seed=1)
    leaking = deal(rows, plan.Variant(name="notebook", why="", settings={}, split_after=True), seed=1)

    def asked_twice(sides: dict[str, list[Example]]) -> set[str]:
        return {row.question for row in sides["train"]} & {row.question for row in sides["val"]}

    assert not asked_twice(clean)
    assert len(asked_twice(leaking)) > 20
    assert len(leaking["train"]) + len(leaking["val"]) == len(rows)
    assert leaking == deal(list(reversed(rows)), plan.Variant(name="n", why="", settings={}, split_after=True), seed=1)
    few = deal(rows, plan.Variant(name="half", why="", settings={}, examples=10), seed=1)
    assert few["train"] == clean["train"][:10]


def test_the_table_holds_paired_differences(worked: dict[str, ModuleType]) -> None:
    """A training that is better by 0.2 on every question is clearly so; leakage is told apart by what was in training."""
    outcome = worked["outcome"]
    pairs = [f"q{number}" for number in range(24)]
    base = {pair: 0.2 + 0.02 * number for number, pair in enumerate(pairs)}

    def answers(added: float) -> Any:
        scores = {metric: {pair: base[pair] + added for pair in pairs} for metric in outcome.PRIMARY}
        return outcome.Answers(scores={**scores, "correctness": {}}, words=dict.fromkeys(pairs, 9))

    found = outcome.Outcome(
        answers={"base": answers(0), "joined": answers(0.2), "notebook": answers(0.25), "separate": answers(0.2)},
        papers={pair: f"paper {number % 12}" for number, pair in enumerate(pairs)},
        questions={pair: f"question {pair}" for pair in pairs},
    )
    difference = found.difference("joined", "base", "token F1")
    assert (difference.mean, difference.won, difference.lost) == (0.2, 24, 0)
    means = outcome.means_table(found, dict.fromkeys(found.answers, "as it is"))
    assert "| base | as it is | 0.430 [" in means
    rows = outcome.differences_table(found, {"joined": "joined", "notebook": "separate", "separate": "joined"})
    assert "| joined − base | +0.200 [+0.200, +0.200]" in rows
    assert "| notebook − separate | +0.050" in rows
    told = outcome.leakage(found, {"question q0", "question q1"}, "notebook", "separate")
    assert "2 in training" in told
    assert "22 not in training" in told
    sides = outcome.by_retrieval(found, {"question q0", "question q1", "question q2"})
    assert "token F1, 3 with their chunk" in sides
    assert "| joined − base | +0.200 [+0.200, +0.200]" in sides
    assert outcome.secondary(found, "joined") == ""
    picture = outcome.picture(found, "token F1")
    assert picture.count("<circle") == 3
    assert picture.startswith("<svg")


def asked(port: int, messages: Any, model: str = "written") -> str:
    """What the endpoint at `port` of the loopback says to `messages`."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=json.dumps({"model": model, "messages": list(messages), "max_tokens": 64}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        content: str = json.load(reply)["choices"][0]["message"]["content"]
    return content


def test_the_loss_of_a_training_is_drawn(worked: dict[str, ModuleType]) -> None:
    """Both curves over all steps; a step without validation is no point of its curve."""
    losses = [
        Loss(step=0, epoch=0.0, val=2.0),
        Loss(step=1, epoch=0.5, train=1.0),
        Loss(step=2, epoch=1.0, train=0.5, val=1.0),
    ]
    drawn = worked["outcome"].loss_picture(losses)
    training, validation = re.findall(r'points="([^"]*)"', drawn)
    assert training == "342.0,125.0 640.0,177.5"
    assert validation == "44.0,20.0 640.0,125.0"
    assert "step 2" in drawn
