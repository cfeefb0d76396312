"""The worked examples of examples/extending do what ARCHITECTURE.md says, after the lines that they name."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

import pytest

from jobs import registry
from jobs.cli.main import main
from jobs.evaluation import lexical
from jobs.parsing.find import find_papers
from jobs.parsing.parsers import PARSERS, Entry, Options, choose, load

pytestmark = pytest.mark.processes

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "extending"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


def rows(run: Path, dataset: str) -> list[dict[str, object]]:
    paths = sorted((run / dataset).glob("0*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def test_a_job_is_its_file_and_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    example_papers: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With its line in the registry the job runs behind the one that it reads, and the status shows it."""
    example = import_module("job")
    monkeypatch.setitem(sys.modules, "jobs.evaluation.lengths", example)
    line = registry.Declaration("lengths", "evaluation.lengths", "lengths", example.Length)
    place = [job.name for job in registry.JOBS].index("answer") + 1
    monkeypatch.setattr(registry, "JOBS", (*registry.JOBS[:place], line, *registry.JOBS[place:]))
    monkeypatch.setattr("jobs.run.folder.ROWS", MappingProxyType({**registry.ROWS, "lengths": example.Length}))
    out, config = tmp_path / "run", configured(simulate(), "[ask]\nmax_questions = 6\n")
    assert main(["run", str(example_papers), "--out", str(out), "--config", str(config), "--until", "lengths"]) == 0
    answers = {row["id"]: str(row["answer"]) for row in rows(out, "pairs")}
    assert {row["parent"]: row["words"] for row in rows(out, "lengths")} == {
        id_: len(answer.split()) for id_, answer in answers.items()
    }
    assert main(["status", str(out)]) == 0
    assert "lengths" in capsys.readouterr().out


def test_a_metric_is_a_function_and_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    example_papers: Path,
) -> None:
    """With its line in the table the metric can be configured, and has its column in the results."""
    monkeypatch.setitem(lexical.LEXICAL, "numbers", import_module("metric").numbers)
    config = configured(simulate(), "[ask]\nmax_questions = 6\n").read_text("utf-8")
    path = tmp_path / "metric.toml"
    path.write_text(config.replace("[evaluate]\n", '[evaluate]\nmetrics = ["numbers"]\n'), "utf-8")
    out = tmp_path / "run"
    assert main(["run", str(example_papers), "--out", str(out), "--config", str(path)]) == 0
    results = json.loads((out / "results.json").read_bytes())
    assert all(0 <= row["numbers"]["mean"] <= 1 for row in results["rows"])


SUBTITLES = """1
00:00:40,000 --> 00:00:44,000
Grain is fed between two stones. The upper stone turns, the lower one rests.

2
00:00:44,500 --> 00:00:49,000
Flour leaves at the rim,
and the miller feels it between his fingers.

3
00:02:00,000 --> 00:02:09,000
When it is warm, the stones are too close. That is all there is to know about it.
"""


@pytest.mark.parametrize("chosen", ["parser:read", "srt"])
def test_a_parser_is_a_function_and_at_most_a_line(
    chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its module's name it needs no line; with its line in the table it has a name, and "auto" finds its files."""
    example = import_module("parser")
    talks = tmp_path / "talks"
    talks.mkdir()
    (talks / "mills.srt").write_text(SUBTITLES, "utf-8")
    (talks / "notes.doc").write_text("words", "utf-8")
    if chosen == "srt":
        monkeypatch.setitem(sys.modules, "jobs.parsing.formats.srt", example)
        monkeypatch.setitem(PARSERS, "srt", Entry(read="jobs.parsing.formats.srt:read", suffixes=(".srt",)))
        assert [place.path.name for place in find_papers([talks])] == ["mills.srt"]
        extracted = load(choose("auto", "mills.srt", b""))(SUBTITLES.encode(), "mills.srt", Options())
        assert [heading.title for heading in extracted.headings] == ["0:00:40", "0:02:00"]
        return
    out = tmp_path / "run"
    settings = ["--set", f"parse.parser={chosen}", "--until", "parse", "--set", "parse.workers=1"]
    assert main(["run", str(talks), "--out", str(out), *settings]) == 0
    [chunk] = rows(out, "chunks")
    assert "leaves at the rim, and the miller" in str(chunk["text"])
    assert (chunk["title"], chunk["page_first"]) == ("mills", 0)
    fingerprint = json.loads((out / "chunks" / "job.json").read_bytes())["fingerprint"]
    assert fingerprint["parser"] == "parser:read"
