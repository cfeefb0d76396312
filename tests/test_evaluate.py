"""Which models are compared: candidates, with and without retrieval, on a run or on a file of pairs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_pipeline import counters, rows

from jobs.cli import main

Configured = Callable[..., Path]
Simulate = Callable[..., str]


def candidate(name: str, url: str, *lines: str) -> str:
    """The section of a candidate that is the simulated model `name`."""
    return "\n".join(
        [f"[models.candidates.{name}]", f'model = "{name}"', f'base_url = "{url}"', 'api_key_env = ""', *lines]
    )


def answered(url: str) -> Counter[str]:
    """How many requests each model of the endpoint has answered."""
    return Counter(counters(url)["answered_by_model"])


def table(run: Path) -> list[str]:
    """The names of the table's rows."""
    return [row["name"] for row in json.loads((run / "results.json").read_bytes())["rows"]]


def test_candidates_are_added_to_a_run(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each candidate of the configuration gets its rows; what was answered before stays, and is not asked again."""
    url, other = simulate(), simulate("--models", "*")
    out = tmp_path / "run"
    run = ["run", str(example_papers), "--out", str(out)]
    assert main([*run, "--config", str(configured(url))]) == 0
    before, asked = rows(out, "responses"), counters(url)["answered"]
    prices = "input_usd_per_million = 1.0\noutput_usd_per_million = 2.0\nmax_concurrency = 2"
    both = configured(url, candidate("rival", other, prices), candidate("third", other))
    assert main([*run, "--config", str(both)]) == 0
    responses = rows(out, "responses")
    assert [row for row in responses if row["model"] == "base"] == before
    assert Counter(row["model"] for row in responses) == dict.fromkeys(("base", "rival", "third"), len(before))
    assert answered(other) == {"rival": len(before), "third": len(before)}
    # Beside the candidates' answers, only these are embedded and judged.
    assert counters(url)["answered"] - asked <= 2 * 2 * len(before)
    assert counters(url)["answered_twice"] == 0
    assert table(out)[:3] == ["base, validation", "rival, validation", "third, validation"]
    assert [row["name"] for row in differences(out)][:2] == ["rival − base, validation", "third − base, validation"]
    capsys.readouterr()
    # A candidate that a configuration does not name any more stays: its answers were paid for.
    assert main([*run, "--config", str(configured(url))]) == 0
    assert "nothing is left to do" in capsys.readouterr().err
    assert rows(out, "responses") == responses
    assert "rival, validation" in table(out)


def differences(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "results.json").read_bytes())["differences"]
    return found


def test_with_and_without_retrieval(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ablation asks every model the bare questions too, and the table shows both and what retrieval adds."""
    url, out = simulate("--models", "*"), tmp_path / "run"
    run = ["run", str(example_papers), "--out", str(out)]
    assert main([*run, "--config", str(configured(url, candidate("rival", url)))]) == 0
    before, asked = rows(out, "responses"), answered(url)
    assert main([*run, "--set", "evaluate.without_retrieval=true"]) == 0
    responses = rows(out, "responses")
    assert [row for row in responses if row["retrieval"]] == before
    bare = [row for row in responses if not row["retrieval"]]
    assert [(row["pair_id"], row["model"]) for row in bare] == [(row["pair_id"], row["model"]) for row in before]
    assert not any(row["contexts"] for row in bare)
    new = answered(url) - asked
    assert new["rival"] == len(bare) / 2
    assert new["simulated-chat"] == len(bare) / 2 + len(bare)  # the base's answers, and all that are judged
    for name in ("similarities", "verdicts"):
        assert len(rows(out, name)) == len(responses)
    assert table(out)[:4] == [
        "base, validation",
        "rival, validation",
        "base, validation, no retrieval",
        "rival, validation, no retrieval",
    ]
    results = json.loads((out / "results.json").read_bytes())
    assert {row["name"] for row in results["retrieval_effects"]} >= {"rival with − without retrieval, validation"}
    assert "rival with − without retrieval, validation, Correctness:" in capsys.readouterr().out


def test_evaluate_names_models(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """`evaluate RUN --model` asks the named models alone, keeps them in the run, and generates nothing again."""
    url, other, out = simulate("--models", "*"), simulate("--models", "big"), tmp_path / "run"
    run = ["run", str(example_papers), "--out", str(out)]
    assert main([*run, "--config", str(configured(url))]) == 0
    kept = {name: rows(out, name) for name in ("questions", "pairs", "examples", "responses")}
    asked, sample = answered(url), len(kept["responses"])
    evaluate = ["evaluate", str(out), "--model", f"wrong=bgi@{other}"]
    assert main(evaluate) == 1
    assert (
        "knows no model 'bgi' (404); check model and base_url in [models.candidates.wrong]" in capsys.readouterr().err
    )
    evaluate = ["evaluate", str(out), "--model", "rival=middling", "--model", f"wrong=big@{other}"]
    assert main(evaluate) == 0
    assert answered(other) == {"big": sample}
    new = answered(url) - asked
    assert (new["middling"], new["simulated-chat"]) == (sample, 2 * sample)
    for name in ("questions", "pairs", "examples"):
        assert rows(out, name) == kept[name]
    assert [row for row in rows(out, "responses") if row["model"] == "base"] == kept["responses"]
    assert table(out)[:3] == ["base, validation", "wrong, validation", "rival, validation"]
    told, asked = capsys.readouterr().out, answered(url)
    assert "rival − base, validation, Correctness:" in told
    for again in (evaluate, ["evaluate", str(out)], ["report", str(out)], run):
        assert main(again) == 0
        assert answered(url) == asked
        assert table(out)[2] == "rival, validation"
    assert main(["evaluate", str(out), "--model", "rival=other"]) == 1
    assert "in this run that is middling; choose another name" in capsys.readouterr().err


def test_the_judge_is_judged(example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured) -> None:
    """On a finished run a sample is judged twice and side by side; only that is asked, and the report says what came."""
    url, out = simulate("--models", "*"), tmp_path / "run"
    run = ["run", str(example_papers), "--out", str(out)]
    assert main([*run, "--config", str(configured(url, candidate("rival", url)))]) == 0
    asked, verdicts = counters(url)["answered"], rows(out, "verdicts")
    assert main([*run, "--set", "evaluate.rejudge=3", "--set", "evaluate.pairwise=2"]) == 0
    rejudged, preferred = rows(out, "rejudgements"), rows(out, "preferences")
    assert Counter((row["split"], row["model"]) for row in rejudged) == dict.fromkeys(
        [(split, model) for split in ("val", "train") for model in ("base", "rival")], 3
    )
    assert Counter((row["split"], row["order"]) for row in preferred) == dict.fromkeys(
        [(split, order) for split in ("val", "train") for order in ("model first", "against first")], 2
    )
    assert counters(url)["answered"] - asked == len(rejudged) + len(preferred)
    assert rows(out, "verdicts") == verdicts
    found = json.loads((out / "results.json").read_bytes())
    assert found["judge_noise"] == {"exact": 1, "absolute": 0, "deviation": 0, "scored": 12, "total": 12}
    assert [(each["model"], each["against"], each["split"], each["total"]) for each in found["preferences"]] == [
        ("rival", "base", "val", 2),
        ("rival", "base", "train", 2),
    ]
