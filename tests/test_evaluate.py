"""Which models are compared: candidates, with and without retrieval, on a run or on a file of pairs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_pipeline import counters, journalled, rows, start, wait_for

from jobs.cli.main import main

pytestmark = pytest.mark.processes

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
    run = ["run", str(example_papers), "--out", str(out), "--no-preflight"]
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
    run = ["run", str(example_papers), "--out", str(out), "--no-preflight"]
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
    said = capsys.readouterr().err
    assert "knows no model 'bgi' (404" in said
    assert "check model and base_url in [models.candidates.wrong]" in said
    evaluate = ["evaluate", str(out), "--model", "rival=middling", "--model", f"wrong=big@{other}", "--no-preflight"]
    assert main(evaluate) == 0
    assert answered(other) == {"big": sample}
    new = answered(url) - asked
    assert (new["middling"], new["simulated-chat"]) == (sample, 2 * sample)
    for name in ("questions", "pairs", "examples"):
        assert rows(out, name) == kept[name]
    assert [row for row in rows(out, "responses") if row["model"] == "base"] == kept["responses"]
    assert table(out)[:3] == ["base, validation", "rival, validation", "wrong, validation"]
    told, asked = capsys.readouterr().out, answered(url)
    assert "rival − base, validation, Correctness:" in told
    for again in (evaluate, ["evaluate", str(out)], ["report", str(out)], run):
        assert main(again) == 0
        assert answered(url) == asked
        assert table(out)[1] == "rival, validation"
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
    assert found["judge_noise"] == {"exact": 1, "close": 1, "absolute": 0, "deviation": 0, "scored": 12, "total": 12}
    assert [(each["model"], each["against"], each["split"], each["total"]) for each in found["preferences"]] == [
        ("rival", "base", "val", 2),
        ("rival", "base", "train", 2),
    ]


def pairs_file(folder: Path, *lines: str) -> Path:
    """Twelve pairs, half of them with contexts, and these `lines` after them."""
    found = [{"question": f"What is {number}?", "answer": f"The number {number}."} for number in range(12)]
    for number in range(0, 12, 2):
        found[number] |= {"contexts": [f"{number} is a number.", "Numbers are counted."]}  # type: ignore[dict-item]
    path = folder / "pairs.jsonl"
    path.write_text("\n".join([*map(json.dumps, found), *lines]) + "\n", "utf-8")
    return path


def test_a_file_of_pairs(
    tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of pairs becomes a run: with their contexts or alone, answered, judged, reported; nothing twice."""
    url, out = simulate("--models", "*"), tmp_path / "run"
    config = configured(url, "[evaluate]\nsample = 50").read_text("utf-8").replace("[evaluate]\nsample = 8\n", "")
    (tmp_path / "config.toml").write_text(config.replace("[models.generator]", "[models.candidates.third]"), "utf-8")
    path = pairs_file(tmp_path)
    evaluate = [
        "evaluate",
        str(path),
        "--out",
        str(out),
        "--config",
        str(tmp_path / "config.toml"),
        "--model",
        "rival=big",
        "--no-preflight",
    ]
    assert main(evaluate) == 0
    responses = rows(out, "responses")
    assert Counter((row["model"], row["retrieval"], len(row["contexts"])) for row in responses) == {
        (model, bool(contexts), contexts): 6 for model in ("base", "third", "rival") for contexts in (0, 2)
    }
    assert table(out) == [
        f"{model}, validation{side}" for side in ("", ", no retrieval") for model in ("base", "third", "rival")
    ]
    results = json.loads((out / "results.json").read_bytes())
    assert all(
        row[metric]["scored"] == row[metric]["total"] == 6
        for row in results["rows"]
        for metric in ("correctness", "semantic_similarity")
    )
    assert (results["coverage"]["pairs"], results["coverage"]["evaluated"], results["coverage"]["papers"]) == (
        12,
        12,
        0,
    )
    assert results["retrieval"] == results["retrieval_effects"] == []
    assert "generator" not in results["models"]
    assert answered(url)["big"] == 12
    before, asked = responses, counters(url)["answered"]
    capsys.readouterr()
    for again in (evaluate, ["evaluate", str(out)]):
        assert main(again) == 0
        assert "nothing is left to do" in capsys.readouterr().err
    assert (rows(out, "responses"), counters(url)["answered"]) == (before, asked)
    assert main(["evaluate", str(out), "--model", "late=later", "--no-preflight"]) == 0
    assert answered(url)["later"] == 12
    assert answered(url)["big"] == 12
    assert main(["verify", str(out)]) == 0


def test_bad_lines_are_counted(
    tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that is no pair is a failure with its place and reason, exit code 3; the others are evaluated."""
    out = tmp_path / "run"
    path = pairs_file(tmp_path, "{", '{"question": "Alone?"}')
    evaluate = ["evaluate", str(path), "--out", str(out), "--config", str(configured(simulate()))]
    assert main(evaluate) == 3
    capsys.readouterr()
    assert main(["status", str(out), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert [(each["job"], each["kind"], each["reason"].partition(":")[0]) for each in status["failures"]] == [
        ("deal", "not_json", "line 13"),
        ("deal", "no_answer", "line 14"),
    ]
    assert [job["job"] for job in status["jobs"]] == ["deal", "respond", "similarity", "judge"]
    assert json.loads((out / "results.json").read_bytes())["failures"]["jobs"]["deal"] == {
        "no_answer": 1,
        "not_json": 1,
    }
    assert main(evaluate) == 3


def test_a_killed_evaluation_is_resumed(tmp_path: Path, simulate: Simulate, configured: Configured) -> None:
    """Killed while models answer, the same command ends with the bytes of an undisturbed run."""
    config = configured(simulate("--latency-mean-s", "0.4", "--latency-sigma", "1"))
    path = pairs_file(tmp_path)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert main(["evaluate", str(path), "--out", str(undisturbed), "--config", str(config)]) == 0
    process = start("evaluate", path, "--out", killed, "--config", config)
    wait_for(partial(journalled, killed, "responses"), process)
    process.kill()
    process.wait()
    assert not list((killed / "responses").glob("*.done.json"))
    assert main(["evaluate", str(path), "--out", str(killed), "--config", str(config)]) == 0
    for name in ("pairs", "chunks", "examples", "responses", "similarities", "verdicts"):
        assert rows(killed, name) == rows(undisturbed, name)
    assert (killed / "results.json").read_bytes() == (undisturbed / "results.json").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "{pairs}"], "say with --out in which folder"),
        (["evaluate", "{tmp}/nowhere.jsonl", "--out", "{out}"], "cannot read the pairs in"),
        (["evaluate", "{tmp}/config.toml", "--out", "{out}"], "is not JSON"),
        (["evaluate", "{empty}", "--out", "{out}"], "holds no pair of question and answer"),
        (["evaluate", "{pairs}", "--out", "{tmp}"], "is not a run, and not empty"),
        (["evaluate", "{pairs}", "--out", "{out}", "--set", "models.base=3"], "models.base"),
        (["evaluate", "{pairs}", "--out", "{out}", "--set", "evaluate.samples=3"], "did you mean evaluate.sample"),
        (["evaluate", "{pairs}", "--out", "{out}", "--model", "big"], "--model takes NAME=MODEL"),
        (["evaluate", "{tmp}", "--config", "{tmp}/config.toml"], "--config goes with a file of pairs"),
        (
            ["run", "{pairs}", "--out", "{out}", "--set", "evaluate.pairs=x"],
            "a run of the pairs in a file has no papers",
        ),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the user got wrong is one line that says what to do, exit code 1, and nothing is written."""
    configured("http://127.0.0.1:9/v1")
    (tmp_path / "empty.jsonl").write_text("\n", "utf-8")
    names = {"pairs": pairs_file(tmp_path), "out": tmp_path / "out", "tmp": tmp_path, "empty": tmp_path / "empty.jsonl"}
    assert main([argument.format(**names) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_runs_of_papers_and_of_pairs_are_not_mixed(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of pairs takes no papers and no other file, a run of papers no pairs; each says so."""
    config, path = str(configured(simulate())), pairs_file(tmp_path)
    given, papers = tmp_path / "given", tmp_path / "papers"
    assert main(["evaluate", str(path), "--out", str(given), "--config", config]) == 0
    assert main(["run", str(example_papers), "--out", str(papers), "--config", config, "--until", "parse"]) == 0
    other = pairs_file(tmp_path).rename(tmp_path / "other.jsonl")
    capsys.readouterr()
    for arguments, said in (
        (["run", str(example_papers), "--out", str(given), "--config", config], "has no papers"),
        (["evaluate", str(other), "--out", str(given)], "is a run of " + str(path)),
        (["evaluate", str(other), "--out", str(papers)], "is a run of papers; choose another --out"),
    ):
        assert main(arguments) == 1
        assert said in capsys.readouterr().err
