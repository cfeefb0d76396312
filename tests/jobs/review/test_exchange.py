from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from decided import about
from samples import pair, sealed

from engine.datasets import Dataset
from engine.errors import BadInput
from jobs.cli.main import main
from jobs.config import Config
from jobs.records import Pair
from jobs.review.decisions import standing
from jobs.review.exchange import Added, add_decisions, write_decisions
from jobs.review.log import ReviewLog
from jobs.run import configfile

PAIRS = [pair(f"pair-{number}", chunk="c") for number in range(4)]


def made(folder: Path) -> tuple[ReviewLog, Dataset[Any]]:
    return ReviewLog(folder / "reviews"), sealed(folder / "pairs", Pair, PAIRS[:2], PAIRS[2:])


def added(folder: Path, log: ReviewLog, pairs: Dataset[Any], *lines: dict[str, Any]) -> Added:
    path = folder / "given.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    return add_decisions(log, pairs, path, "Ben")


def test_decisions_go_from_one_copy_of_a_run_to_another(tmp_path: Path) -> None:
    """What stands in the one stands in the other, with its author; adding it again adds nothing."""
    (log, _), (other, pairs) = made(tmp_path / "one"), made(tmp_path / "other")
    taken_back = log.append(0, about(PAIRS[0], "reject", reason="wrong"))
    log.append(0, about(PAIRS[0], "undo", undoes=taken_back.id))
    log.append(0, about(PAIRS[1], "edit", answer="Better.", queue="random"))
    log.append(1, about(PAIRS[3], "reject", reason="trivial"))
    file = tmp_path / "decisions.jsonl"
    assert write_decisions(log, file) == 2
    assert add_decisions(other, pairs, file, "Ben") == Added(added=2, same=0, unknown=0)
    assert add_decisions(other, pairs, file, "Ben") == Added(added=0, same=2, unknown=0)
    edit = standing(other.rows(0))["pair-1"]
    assert (edit.who, edit.queue, edit.after and edit.after.answer) == ("Ada", "random", "Better.")
    assert edit.before.question == PAIRS[1].question
    assert standing(other.rows(1))["pair-3"].reason == "trivial"


def test_a_file_of_another_tool(tmp_path: Path) -> None:
    """A pair and a decision are enough; pairs that the run lacks are counted, and its own decision may be another."""
    log, pairs = made(tmp_path)
    log.append(0, about(PAIRS[0]))
    found = added(
        tmp_path,
        log,
        pairs,
        {"pair_id": "pair-0", "decision": "reject", "reason": "wrong"},
        {"pair_id": "pair-2", "decision": "accept", "score": 5},
        {"pair_id": "gone", "decision": "accept"},
    )
    assert found == Added(added=2, same=0, unknown=1)
    assert (standing(log.rows(0))["pair-0"].decision, standing(log.rows(1))["pair-2"].who) == ("reject", "Ben")


@pytest.mark.parametrize(
    "wrong",
    [
        {"pair_id": "pair-1", "decision": "shrug"},
        {"decision": "accept"},
        {"pair_id": "pair-1", "decision": "edit"},
        {"pair_id": "pair-1", "decision": "edit", "after": {"question": " ", "answer": "So."}},
        {"pair_id": "pair-1", "decision": "accept", "after": {"question": "Why?", "answer": "So."}},
    ],
)
def test_one_bad_line_adds_nothing(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """It is named by its number, before anything is written."""
    log, pairs = made(tmp_path)
    with pytest.raises(BadInput, match=r"given\.jsonl, line 2"):
        added(tmp_path, log, pairs, {"pair_id": "pair-0", "decision": "accept"}, wrong)
    assert log.shards() == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what there is, writes a file, and adds one; a file that is not there is one line."""
    made(tmp_path)
    (tmp_path / "run.toml").write_bytes(configfile.dump(Config()))
    run, file = str(tmp_path), tmp_path / "decisions.jsonl"
    assert main(["review", run]) == 0
    assert "no pair is reviewed yet" in capsys.readouterr().out
    file.write_text('{"pair_id": "pair-0", "decision": "accept"}\n', "utf-8")
    assert main(["review", run, "--import", str(file), "--who", "Cy"]) == 0
    assert capsys.readouterr().out == "decisions: 1 added, 0 stood already, 0 are of other pairs\n"
    assert main(["review", run, "--export", str(tmp_path / "out.jsonl")]) == 0
    assert '"who":"Cy"' in (tmp_path / "out.jsonl").read_text("utf-8")
    assert main(["review", run]) == 0
    assert "1 pair reviewed: 1 accepted" in capsys.readouterr().out
    assert main(["review", run, "--import", str(tmp_path / "nowhere")]) == 1
    assert "cannot read" in capsys.readouterr().err
