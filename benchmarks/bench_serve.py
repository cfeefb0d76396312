"""How long does a page take, and how much memory does the server, with a million pairs in three thousand shards?

A generator writes the run: papers, chunks, pairs and what curation decided, sealed. `gristmill serve` shows it. The first
pages of Papers and of Pairs need no look at all shards; a filter and a search do, and their first answers come from the
shards that were seen so far.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.cookiejar import CookieJar
from pathlib import Path

import msgspec
from tables import Row, figure, options, show_rows, write

from engine.records import Record, encode
from engine.requests import Usage
from engine.shards import Seal
from jobs.config import Config
from jobs.records import Chunk, Curated, Pair, Paper, PaperText
from jobs.run import configfile

TARGET_MS, TARGET_MB = 300, 300
_WORDS = "stone water wheel grain miller flour sack river dam gear shaft rope tower wind sail hopper".split()


def main() -> None:
    given = options(__doc__, pairs=1_000_000, shards=3000, papers=100_000, rounds=20)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        began = time.monotonic()
        generate(run, pairs=given.pairs, shards=given.shards, papers=given.papers)
        print(f"generated in {time.monotonic() - began:.0f} s")
        with served(run) as (read, memory_mb):
            cold_ms = {path: read(path) for path in ("/papers", "/pairs")}
            warm = {path: [read(path) for _ in range(given.rounds)] for path in cold_ms}
            last = {path: [read(f"{path}?page={page}") for page in (2, 1000)] for path in cold_ms}
            plain_mb = memory_mb()
            whole_s = {
                path: until_whole(read, path)
                for path in ("/pairs?decision=refused", "/papers?order=kept", "/pairs?text=hopper+zzz")
            }
            after = {path: [read(path) for _ in range(5)] for path in whole_s}
            peak_mb = memory_mb()
    rows = [
        Row(
            measure=f"first page of {path}, {given.pairs} pairs, ms after a warm-up",
            value=str(figure(times)),
            target=f"< {TARGET_MS}",
            met=max(times) < TARGET_MS,
        )
        for path, times in warm.items()
    ]
    rows += [Row(measure=f"the very first {path}, ms", value=f"{ms:.0f}") for path, ms in cold_ms.items()]
    rows += [Row(measure=f"pages 2 and 1000 of {path}, ms", value=str(figure(times))) for path, times in last.items()]
    rows += [Row(measure=f"{path}: all shards seen, s", value=f"{s:.1f}") for path, s in whole_s.items()]
    rows += [Row(measure=f"{path}: again, ms", value=str(figure(times))) for path, times in after.items()]
    rows.append(
        Row(
            measure="peak memory of the server after the first pages, and after filter, order and search, MB",
            value=f"{plain_mb:.0f}, {peak_mb:.0f}",
            target=f"< {TARGET_MB}",
            met=peak_mb < TARGET_MB,
        )
    )
    show_rows(f"{given.pairs} pairs of {given.papers} papers in {given.shards} shards", rows)
    write(given.json, {"rows": rows, "found": {"warm_ms": warm, "whole_s": whole_s}})


def until_whole(read: Reader, path: str) -> float:
    """Seconds until a question that needs all shards has seen them all, asked again and again as its page does."""
    began = time.monotonic()
    read(path)
    while b"data-further" in read.body:
        read(path)
    return time.monotonic() - began


class Reader:
    """Reads pages of a server as a browser that is let in; called with a path it gives the milliseconds."""

    def __init__(self, address: str) -> None:
        self._base = address.partition("?")[0].rstrip("/")
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self._opener.open(address).read()
        self.body = b""

    def __call__(self, path: str) -> float:
        began = time.perf_counter()
        with self._opener.open(self._base + path) as answer:
            self.body = answer.read()
        return 1000 * (time.perf_counter() - began)


@contextmanager
def served(run: Path) -> Iterator[tuple[Reader, Callable[[], float]]]:
    """`gristmill serve` on `run` in a process of its own; yields what reads its pages, and its peak memory in MB."""
    command = [sys.executable, "-m", "jobs", "serve", str(run), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().decode().split()[-1]
        yield Reader(address), lambda: _peak_mb(process.pid)
    finally:
        process.kill()
        process.wait()


def _peak_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def generate(run: Path, *, pairs: int, shards: int, papers: int) -> None:
    """A finished run with `pairs` pairs, of which every tenth was refused."""
    for name, job in (("papers", "deal"), ("chunks", "parse"), ("pairs", "answer"), ("curated", "curate")):
        (run / name).mkdir(parents=True)
        (run / name / "job.json").write_bytes(msgspec.json.encode({"job": job, "fingerprint": {}}))
    (run / "run.toml").write_bytes(configfile.dump(Config()))
    numbers = [_of(shards, count) for count in (papers, pairs)]
    for index in range(shards):
        first_paper, first_pair = (each(index) for each in numbers)
        named = [f"{number:032x}" for number in range(first_paper, numbers[0](index + 1))]
        _seal(run / "papers", index, [_paper(id_) for id_ in named])
        _seal(run / "chunks", index, [_chunk(id_, position) for id_ in named for position in range(3)])
        asked = [_pair(number, named[number % len(named)]) for number in range(first_pair, numbers[1](index + 1))]
        _seal(run / "pairs", index, asked)
        _seal(run / "curated", index, [_curated(pair, kept=number % 10 > 0) for number, pair in enumerate(asked)])


def _of(shards: int, count: int) -> Callable[[int], int]:
    return lambda index: count * index // shards


def _seal(folder: Path, index: int, rows: list[Record]) -> None:
    data = b"".join(map(encode, rows))
    (folder / f"{index:05d}.jsonl").write_bytes(data)
    seal = Seal(
        inputs=len(rows), rows=len(rows), failures=[], bytes=len(data), sha256=sha256(data).hexdigest(), usage=Usage()
    )
    (folder / f"{index:05d}.done.json").write_bytes(msgspec.json.encode(seal))


def _text(number: int, count: int) -> str:
    return " ".join(_WORDS[(number * 7 + at * at + number // 16) % len(_WORDS)] for at in range(count))


def _paper(id_: str) -> Record:
    return Paper(id=id_, parent="", path=f"/papers/{id_[-8:]}/on-mills.pdf", sha256="", bytes=100_000)


def _chunk(paper: str, position: int) -> Record:
    number = int(paper, 16)
    text = PaperText(pages=12, characters=40_000, left_out={}, omitted=[])
    return Chunk(
        id=f"{paper[:-1]}{position}",
        parent=paper,
        paper_id=paper,
        title=f"On {_text(number, 6)}",
        position=position,
        text=_text(number + position, 60),
        page_first=position + 1,
        page_last=position + 1,
        split="train",
        paper_text=None if position else text,
    )


def _pair(number: int, paper: str) -> Pair:
    return Pair(
        id=f"{number:032x}",
        parent=f"{number:032x}",
        chunk_id=f"{paper[:-1]}{number % 3}",
        paper_id=paper,
        question=f"What does the {_text(number, 8)} do?",
        answer=f"It is the {_text(number + 1, 24)}.",
        split="val" if number % 5 == 0 else "train",
    )


def _curated(pair: Pair, *, kept: bool) -> Record:
    return Curated(
        id=pair.id,
        parent=pair.id,
        pair_id=pair.id,
        chunk_id=pair.chunk_id,
        paper_id=pair.paper_id,
        question=pair.question,
        answer=pair.answer,
        kept=kept,
        reason="" if kept else "too_short",
        detail="",
        split=pair.split,
    )


if __name__ == "__main__":
    main()
