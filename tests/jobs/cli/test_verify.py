"""``gristmill verify RUN``: one line for each shard that is missing or damaged, and the exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from samples import chunk, sealed

from jobs.cli.main import main
from jobs.config import Config
from jobs.records import Chunk, Paper
from jobs.run.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three sealed shards, and a fourth in which nothing is sealed but the paper."""
    folder = RunFolder(tmp_path / "run")
    papers = [Paper(id=f"paper {index}", parent="", path=f"{index}.pdf", sha256="", bytes=0) for index in range(4)]
    with folder.held(Config()):
        sealed(folder.path / "papers", Paper, *([paper] for paper in papers))
        sealed(folder.path / "chunks", Chunk, *([chunk(f"chunk {index}")] for index in range(3)))
    (folder.path / "chunks" / "00003.checkpoint.jsonl").write_bytes(b'{"id":"a","position":0,"end":0}\n{"id":"torn')
    return folder.path


def verified(run: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code = main(["verify", str(run)])
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    return code, capsys.readouterr().out.splitlines()


def test_a_whole_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where all is there, open shards among it, it says how much that is."""
    assert verified(run, capsys) == (0, ["7 sealed shards are as they were sealed"])


def lose(*names: str) -> Callable[[Path], None]:
    return lambda run: [(run / name).unlink() for name in names] and None


def put(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes(data) and None


@pytest.mark.parametrize(
    ("harm", "names", "words"),
    [
        (lose("chunks/00001.jsonl"), "chunks/00001.jsonl", "is missing, its seal says"),
        (put("chunks/00001.jsonl", b"x" * 7), "chunks/00001.jsonl", "has 7 bytes, its seal says"),
        (lose("papers/00001.done.json"), "papers/00001.jsonl", "has neither a seal nor a checkpoint"),
        (
            lose("papers/00001.done.json", "papers/00001.jsonl"),
            "papers/00001.jsonl",
            "is missing, and its seal with it",
        ),
        (
            lose("papers/00003.done.json", "papers/00003.jsonl"),
            "papers/00003.jsonl",
            "is missing, and its seal with it",
        ),
        (
            lose("chunks/00000.done.json", "chunks/00000.jsonl"),
            "chunks/00000.jsonl",
            "is missing, and its seal with it",
        ),
        (put("chunks/00002.done.json", b'{"inputs'), "chunks/00002.done.json", "is damaged"),
        (put("chunks/00003.checkpoint.jsonl", b"odd\n{}\n"), "chunks/00003.checkpoint.jsonl", "is damaged"),
    ],
)
def test_each_kind_of_damage(
    run: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None], names: str, words: str
) -> None:
    """What is missing or damaged is one line that names the file and what to do, and the exit code is 1."""
    harm(run)
    code, lines = verified(run, capsys)
    assert code == 1
    assert len(lines) == 1
    assert f"{run}/{names} {words}" in lines[0]
    assert "restore it from a copy, or repeat its job with --redo" in lines[0]


def test_all_damage_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One finding does not end the search, and one changed bit is a finding."""
    path = run / "chunks" / "00000.jsonl"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    lose("papers/00000.jsonl", "chunks/00002.jsonl")(run)
    code, lines = verified(run, capsys)
    assert code == 1
    named = [line.split(f"{run}/")[1].split(".jsonl")[0] for line in lines]
    assert named == ["papers/00000", "chunks/00000", "chunks/00002"]
    assert "its checksum differs" in lines[1]
