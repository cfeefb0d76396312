"""A folder of all kinds of papers goes through the whole run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from formats_made import MADE, TEXT

from jobs.cli.main import main

pytestmark = pytest.mark.processes


def rows(run: Path, dataset: str) -> list[dict[str, object]]:
    paths = sorted((run / dataset).glob("0*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def write_papers(folder: Path) -> None:
    """One of every kind, a second paper in the file of lines, and five that cannot be read."""
    folder.mkdir()
    for name, made in MADE.values():
        (folder / name).write_bytes(made())
    with (folder / "mill.jsonl").open("ab") as file:
        file.write(b"\n" + json.dumps({"id": "b2", "text": f"Another line. {TEXT}"}).encode() + b"\nno line\n")
    (folder / "rubbish.md").write_bytes(bytes(range(256)) * 20)
    (folder / "feed.xml").write_bytes(b"<feed/>")
    (folder / "loop.html").symlink_to(folder / "loop.html")
    (folder / "book.epub").write_bytes(b"PK no zip")
    (folder / "notes.doc").write_bytes(b"no parser reads it")


FAILURES = {
    "mill.jsonl#3": "wrong_format",
    "rubbish.md": "wrong_format",
    "feed.xml": "wrong_format",
    "loop.html": "unreadable",
    "book.epub": "damaged",
}


def test_a_folder_of_all_kinds(
    tmp_path: Path, simulate: Callable[..., str], configured: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each paper gives chunks or a reason, a chunk of what has no pages says page 0, and the table is there at the end."""
    out, papers = tmp_path / "run", tmp_path / "papers"
    write_papers(papers)
    assert main(["run", str(papers), "--out", str(out), "--config", str(configured(simulate()))]) == 3
    capsys.readouterr()
    assert main(["status", str(out), "--json"]) == 0
    failures = json.loads(capsys.readouterr().out)["failures"]
    assert {Path(each["paper"]).name: each["kind"] for each in failures if each["job"] == "parse"} == FAILURES
    paths = {row["id"]: Path(str(row["path"])).name for row in rows(out, "papers")}
    chunks = {paths[row["paper_id"]]: row for row in rows(out, "chunks")}
    assert chunks.keys() | FAILURES.keys() == set(paths.values())
    assert "notes.doc" not in paths.values()
    stated = {name: row["section"] for name, row in chunks.items() if row.get("section")}
    for kind in ("markdown", "html", "latex", "epub", "docx"):
        assert stated[MADE[kind][0]] == [f"Stones of {kind}"]
    assert stated["mill.jsonl#1"] == ["Stones of jsonl"]
    assert {name for name, row in chunks.items() if row["page_first"] != 0} == {"mill.pdf"}
    assert chunks["mill.jsonl#2"]["title"] == "b2"
    assert rows(out, "pairs")
    assert json.loads((out / "results.json").read_bytes())["rows"]


def test_a_run_that_was_made_before_reads_no_new_kinds(tmp_path: Path, example_papers: Path) -> None:
    """Without the key in its run.toml a run goes on with PDF files only, until it is told otherwise."""
    out, papers = tmp_path / "run", tmp_path / "papers"
    papers.mkdir()
    source = min(example_papers.glob("*.pdf"))
    (papers / source.name).write_bytes(source.read_bytes())
    run = ["run", str(papers), "--out", str(out), "--until", "parse", "--set", "parse.workers=1"]
    assert main(run) == 0
    fingerprint = (out / "chunks" / "job.json").read_bytes()
    settings = (out / "run.toml").read_text("utf-8")
    (out / "run.toml").write_text(settings.replace('parser = "auto"\n', ""), "utf-8")
    (papers / "new.md").write_text(f"# Mills\n\n{TEXT}", "utf-8")
    assert main(run) == 0
    assert len(rows(out, "papers")) == 1
    assert 'parser = "pdf"' in (out / "run.toml").read_text("utf-8")
    assert main([*run, "--set", "parse.parser=auto"]) == 0
    assert [Path(str(row["path"])).name for row in rows(out, "papers")] == [source.name, "new.md"]
    assert (out / "chunks" / "job.json").read_bytes() == fingerprint
