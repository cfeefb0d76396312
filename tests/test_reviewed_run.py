"""A finished run whose pairs a person has edited and rejected goes on: what follows from these is made anew, no more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from decided import about
from test_pipeline import counters, rows, snapshot

from engine.records import make_id
from jobs.cli.main import main
from jobs.records import Pair, Review
from jobs.review.log import ReviewLog
from jobs.run.folder import RunFolder

pytestmark = pytest.mark.processes

Configured = Callable[..., Path]
Simulate = Callable[..., str]

AFTER = ("examples", "responses", "similarities", "verdicts", "dataset")
"""What follows from the pairs that are used."""


def kept(run: Path) -> list[Pair]:
    refused = {row["pair_id"] for row in rows(run, "curated") if not row["kept"]}
    return [pair for pair in RunFolder(run).datasets()["pairs"].rows() if pair.id not in refused]


def decide(run: Path, *reviews: Review) -> list[tuple[int, Review]]:
    """Append each to the file of its pair's shard."""
    pairs = RunFolder(run).datasets()["pairs"]
    shards = {pair.id: index for index in pairs.sealed() for pair in pairs.read(index)}
    log = ReviewLog(run / "reviews")
    return [(shards[review.pair_id], log.append(shards[review.pair_id], review)) for review in reviews]


def requests(url: str) -> Counter[str]:
    return Counter(counters(url)["answered_by_model"])


def untouched(run: Path) -> dict[str, str]:
    return {name: digest for name, digest in snapshot(run).items() if name.split("/")[0] not in AFTER}


def others(found: list[dict[str, Any]], pair_ids: set[str]) -> list[str]:
    """The lines of all other pairs; the rows of former items stand behind those of all others, so in any order."""
    return sorted(json.dumps(row) for row in found if row["pair_id"] not in pair_ids)


def test_edits_and_rejections_are_honoured_and_nothing_else_is_made(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three edits cost what three pairs cost after curation; two rejections cost nothing; undoing all costs nothing."""
    url, run = simulate(), tmp_path / "run"
    settings = ["--config", str(configured(url)), "--set", "evaluate.sample=1000", "--no-preflight"]
    assert main(["run", str(example_papers), "--out", str(run), *settings]) == 0
    first, before = snapshot(run), {name: rows(run, name) for name in AFTER[:-1]}
    kept_before = untouched(run)
    pairs = kept(run)
    edits = [
        about(pairs[0], "edit", answer="Another answer."),
        about(pairs[1], "edit", question="Another question?", answer="Its answer."),
        about(pairs[2], "edit", question="A clearer question?"),
    ]
    rejections = [about(pair, "reject", reason="trivial") for pair in pairs[3:5]]
    decided = decide(run, *edits, *rejections, about(pairs[5]))
    changed = {review.pair_id for review in (*edits, *rejections)}

    asked = requests(url)
    assert main(["export", str(run), "--format", "openai", "--to", str(tmp_path / "early")]) == 1
    assert "3 reviewed pairs have no examples yet" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--no-preflight"]) == 0
    made = requests(url) - asked
    assert made["simulated-chat"] == 2 * len(edits), "one answer and one verdict each"
    assert 2 <= made["simulated-embedding"] <= 2 + len(edits), "two questions, and answers beside references"
    assert counters(url)["answered_twice"] == 1, "the question whose answer alone was edited"
    assert untouched(run) == kept_before

    for name in AFTER[:-1]:
        assert others(rows(run, name), changed) == others(before[name], changed)
    examples = {row["pair_id"]: row for row in rows(run, "examples")}
    assert {edit.pair_id: edit.after for edit in edits} == {
        edit.pair_id: msgspec.convert(
            {key: examples[edit.pair_id][key] for key in ("question", "answer")}, type(edit.after)
        )
        for edit in edits
    }
    assert "A clearer question?" in examples[pairs[2].id]["prompt"]
    assert not examples.keys() & {rejection.pair_id for rejection in rejections}
    shown = [row for row in rows(run, "responses") if row["question"] == "Another question?"]
    assert [row["reference"] for row in shown] == ["Its answer."]
    trained = (run / "dataset" / "train.jsonl").read_text("utf-8") + (run / "dataset" / "val.jsonl").read_text("utf-8")
    assert trained.count("\n") == len(pairs) - len(rejections)
    assert json.loads((run / "results.json").read_text("utf-8"))["failures"]["total"] == 0

    asked = requests(url)
    assert main(["evaluate", str(run), "--no-preflight"]) == 0
    assert requests(url) == asked, "nothing is left to do"

    log = ReviewLog(run / "reviews")
    for index, review in decided:
        log.append(index, msgspec.structs.replace(review, decision="undo", undoes=review.id, after=None))
    assert main(["evaluate", str(run), "--no-preflight"]) == 0
    assert requests(url) == asked, "what was answered before the edits is still there"
    again = snapshot(run)
    same = [
        name for name in first if name.startswith("dataset") or (name.startswith("examples") and "done" not in name)
    ]
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    assert untouched(run) == kept_before


def test_a_pair_of_the_sample_keeps_its_place_when_it_is_edited(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """The other questions of a small sample stay; in the place of a rejected one stands the next."""
    url, run = simulate(), tmp_path / "run"
    settings = ["--config", str(configured(url)), "--set", "evaluate.sample=3", "--no-preflight"]
    assert main(["run", str(example_papers), "--out", str(run), *settings]) == 0
    sampled = {row["pair_id"] for row in rows(run, "responses")}
    pairs = {pair.id: pair for pair in kept(run)}
    by_hash = sorted(sampled, key=lambda id_: make_id("sample", 0, id_))
    decide(run, about(pairs[by_hash[0]], "edit", answer="Another answer."), about(pairs[by_hash[1]], "reject"))
    assert main(["evaluate", str(run), "--no-preflight"]) == 0
    results = json.loads((run / "results.json").read_text("utf-8"))
    now = {row["pair_id"] for row in rows(run, "responses")} - {by_hash[1]}
    assert sampled - {by_hash[1]} < now
    assert len(now) == len(sampled), results["rows"]


def test_status_export_and_verify_know_the_reviews(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rejection counts for `export` at once; `verify` names a damaged file; the run's card lists the decisions."""
    url, run = simulate(), tmp_path / "run"
    settings = ["--config", str(configured(url)), "--until", "export", "--no-preflight"]
    assert main(["run", str(example_papers), "--out", str(run), *settings]) == 0
    pairs = kept(run)
    decide(run, about(pairs[0], "reject"), about(pairs[1], queue="random"))
    assert main(["export", str(run), "--format", "openai", "--to", str(tmp_path / "out")]) == 0
    lines = b"".join(path.read_bytes() for path in (tmp_path / "out").glob("*.jsonl"))
    assert lines.count(b"\n") == len(pairs) - 1
    capsys.readouterr()
    assert main(["status", str(run)]) == 0
    assert "2 pairs reviewed: 1 accepted, 0 edited, 1 rejected" in " ".join(capsys.readouterr().out.split())
    assert main(["verify", str(run)]) == 0
    file = next((run / "reviews").iterdir())
    file.write_bytes(b"{}\n" + file.read_bytes())
    assert main(["verify", str(run)]) == 1
    assert "reviews" in capsys.readouterr().out
