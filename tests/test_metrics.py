"""How answers are scored, as a user runs it: metrics by option, and a judge that fails now and then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_evaluate import pairs_file
from test_pipeline import counters, rows, snapshot

from jobs.cli.main import main

pytestmark = pytest.mark.processes

Configured = Callable[..., Path]
Simulate = Callable[..., str]


def table(run: Path) -> list[dict[str, Any]]:
    """The rows of `results.json`."""
    found: list[dict[str, Any]] = json.loads((run / "results.json").read_bytes())["rows"]
    return found


def test_metrics_are_switched_on_later(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """A metric that is switched on in a finished run adds its column and its rows; nothing is asked again for it."""
    out, url = tmp_path / "run", simulate()
    run = ["run", str(example_papers), "--out", str(out)]
    assert main([*run, "--config", str(configured(url))]) == 0
    assert not (out / "assessments").exists()
    before = snapshot(out), counters(url)["answered"]
    assert main([*run, "--set", 'evaluate.metrics=["token_f1", "rouge_l"]']) == 0
    assert (snapshot(out), counters(url)["answered"]) == before
    row = table(out)[0]
    assert set(row["token_f1"]) == {"mean", "low", "high", "scored", "total"}
    assert row["rouge_l"]["scored"] == row["rouge_l"]["total"] == row["correctness"]["total"]


def test_metrics_that_ask_the_judge(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """Each costs one request a response, is in the table and in the differences, and leaves answers without contexts out."""
    out, url = tmp_path / "run", simulate("--models", "*")
    candidate = f'[models.candidates.rival]\nmodel = "rival"\nbase_url = "{url}"\napi_key_env = ""'
    metrics = ["faithfulness", "relevancy", "exact_match"]
    config = configured(url, candidate)
    settings = ["evaluate.without_retrieval=true", f"evaluate.metrics={json.dumps(metrics)}"]
    run = ["run", str(example_papers), "--out", str(out), "--config", str(config)]
    assert main([*run, *(part for setting in settings for part in ("--set", setting))]) == 0
    with_contexts = sum(row["retrieval"] for row in rows(out, "responses"))
    seals = [json.loads(path.read_bytes()) for path in (out / "assessments").glob("*.done.json")]
    assert sum(seal["usage"]["requests"] for seal in seals) == 2 * with_contexts
    first, bare = (next(row for row in table(out) if row["retrieval"] is way) for way in (True, False))
    assert first["faithfulness"]["scored"] == first["relevancy"]["scored"] == first["correctness"]["total"]
    assert 0 < first["faithfulness"]["mean"] < 1
    assert "faithfulness" not in bare
    assert bare["exact_match"]["scored"] == bare["correctness"]["total"]
    results = json.loads((out / "results.json").read_bytes())
    kinds = [set(each["metrics"]) - {"correctness", "semantic_similarity"} for each in results["differences"]]
    assert kinds[:2] == [{"faithfulness", "relevancy", "exact_match"}, {"exact_match"}]
    assert set(results["retrieval_effects"][0]["metrics"]) & set(metrics) == {"exact_match"}


def test_a_judge_that_fails_costs_only_its_cells(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """A judge that refuses a tenth of what it is asked: those cells are unscored and counted, all others are as ever."""
    url, refusing = simulate(), simulate("--fault-filter", "0.1", "--fault-sticky", "1")
    settings = ["evaluate.sample=25", 'evaluate.metrics=["faithfulness", "relevancy", "rouge_l"]']
    options = [part for setting in settings for part in ("--set", setting)]
    run = ["run", str(example_papers), "--config", str(configured(url)), *options, "--out"]
    sound, failing = tmp_path / "sound", tmp_path / "failing"
    assert main([*run, str(sound)]) == 0
    capsys.readouterr()
    assert main([*run, str(failing), "--no-preflight", "--set", f"models.judge.base_url={refusing}"]) == 3
    shown = capsys.readouterr().out
    for name, metrics in (("verdicts", ["correctness"]), ("assessments", ["faithfulness", "relevancy"])):
        kept = {row["id"] for row in rows(failing, name)}
        assert kept < {row["id"] for row in rows(sound, name)}
        assert [row for row in rows(sound, name) if row["id"] in kept] == rows(failing, name)
        lost = sum(row[each]["total"] - row[each]["scored"] for row in table(failing) for each in metrics)
        assert lost == len(rows(sound, name)) - len(kept) > 0
    for row, as_ever in zip(table(failing), table(sound), strict=True):
        assert (row["semantic_similarity"], row["rouge_l"]) == (as_ever["semantic_similarity"], as_ever["rouge_l"])
        assert f"{row['correctness']['scored']}/{row['correctness']['total']}" in shown
    text = (failing / "run.toml").read_text("utf-8")
    (failing / "run.toml").write_text(text.replace(refusing, url), "utf-8")
    assert main(["retry", str(failing)]) == 0
    assert table(failing) == table(sound)


def test_metrics_on_a_file_of_pairs(tmp_path: Path, simulate: Simulate, configured: Configured) -> None:
    """The contexts that pairs brought with them are what answers are measured against; those without are left out."""
    out, config = tmp_path / "run", configured(simulate())
    settings = ("--config", str(config), "--set", 'evaluate.metrics=["faithfulness", "token_f1"]')
    assert main(["evaluate", str(pairs_file(tmp_path)), "--out", str(out), *settings]) == 0
    with_contexts = {row["id"] for row in rows(out, "responses") if row["contexts"]}
    asked = [row for row in rows(out, "assessments") if row["metric"] == "faithfulness"]
    assert {row["parent"] for row in asked} == with_contexts != set()
    assert all(row["score"] is not None for row in asked)
