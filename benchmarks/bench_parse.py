"""What does parsing cost beside bare extraction, is chunking fast and the same, and does it starve the calls?

The whole job `parse` (read, hash, extract, find the title, clean, chunk, journal, seal) through the runner, against bare
``page.get_text()`` in as many processes, start-up excluded in both; and against the same with each text tokenized once,
which is less than any job must do whose chunks are measured in tokens. CPU time is that of all processes. While the job
runs, a probe measures how late the event loop wakes. Chunking against LlamaIndex's `SentenceSplitter` on the same texts: the chunks must be the same.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from operator import call
from pathlib import Path
from typing import Any

import msgspec
from papers import cut_papers
from tables import Row, figure, options, ratio, show, write

from engine.datasets import Dataset
from engine.job import Job
from engine.records import make_id
from engine.runner import run
from engine.signals import Stop
from engine.workers import Workers
from jobs.parsing.parse import WARM_UP, Settings, parse
from jobs.parsing.tokens import count_any_tokens
from jobs.records import Chunk, Paper

TARGET_RATIO, TARGET_LAG_MS, PROBE_S = 0.6, 20.0, 0.02


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """One round: pages, wall and CPU seconds, and of ours the chunks and how late the loop woke, in ms."""

    pages: int
    seconds: float
    cpu_s: float
    chunks: int = 0
    lag_p99_ms: float = 0.0
    lag_most_ms: float = 0.0

    @property
    def rate(self) -> float:
        return self.pages / self.seconds

    @property
    def cpu_rate(self) -> float:
        return self.pages / self.cpu_s


class Chunked(msgspec.Struct, frozen=True, kw_only=True):
    """Characters a second of ours and of LlamaIndex's splitter."""

    ours: float
    theirs: float
    same: bool


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(msgspec.json.encode(_ONE[sys.argv[2]](Path(sys.argv[3]))).decode())
        return
    given = options(__doc__, papers=60, pages=16, rounds=7)
    with tempfile.TemporaryDirectory() as name:
        cut_papers(Path(name), given.papers, given.pages)
        found: dict[str, list[Parsed]] = {"bare": [], "tokens": [], "job": []}
        for number in range(given.rounds):
            for which in sorted(found, reverse=bool(number % 2)):
                found[which].append(msgspec.json.decode(one(which, name), type=Parsed))
        chunked = msgspec.json.decode(one("chunk", name), type=Chunked)
    cores = len(os.sched_getaffinity(0))
    rates = {which: [each.rate / cores for each in each_of] for which, each_of in found.items()}
    cpu_rates = {which: [each.cpu_rate for each in each_of] for which, each_of in found.items()}
    lag_ms = [each.lag_p99_ms for each in found["job"]]
    most_ms = max(each.lag_most_ms for each in found["job"])
    rows = [
        _against("bare", f"parse: pages a second a core, {cores} cores", "bare get_text", rates),
        _against("bare", "parse: pages a CPU second", "bare get_text", cpu_rates),
        _against("tokens", "parse: pages a CPU second", "get_text, tokenized once", cpu_rates, has_target=False),
        Row(
            measure="event-loop lag p99 while all cores parse",
            value=f"{figure(lag_ms)} ms; most {most_ms:.3g} ms",
            target=f"< {TARGET_LAG_MS:g} ms",
            met=figure(lag_ms).median < TARGET_LAG_MS,
        ),
        Row(
            measure="chunking: characters a second",
            value=f"{chunked.ours / 1e6:.3g} M",
            floor=f"LlamaIndex's splitter: {chunked.theirs / 1e6:.3g} M",
            ratio=f"{chunked.ours / chunked.theirs:.3g} × LlamaIndex",
            target="the same chunks",
            met=chunked.same,
        ),
    ]
    show(
        f"{given.papers} papers, {found['bare'][0].pages} pages",
        ["", "ours", "floor", "ratio", "target"],
        [[each.measure, each.value, each.floor or "", each.ratio or "", each.target or ""] for each in rows],
    )
    write(given.json, {"rows": rows, "parsed": found, "chunked": chunked})


def _against(floor: str, measure: str, name: str, rates: dict[str, list[float]], *, has_target: bool = True) -> Row:
    times = ratio(rates["job"], rates[floor])
    return Row(
        measure=measure,
        value=str(figure(rates["job"])),
        floor=f"{name}: {figure(rates[floor])}",
        ratio=f"{times} × floor",
        target=f"≥ {TARGET_RATIO:g} × floor" if has_target else None,
        met=times.median >= TARGET_RATIO if has_target else None,
    )


def one(which: str, folder: str) -> bytes:
    command = [sys.executable, __file__, "--one", which, folder]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1]


def bare(folder: Path, read: Callable[[str], tuple[int, float]] | None = None) -> Parsed:
    """Nothing but opening each file and reading its pages' text; or what else `read` does: its pages and CPU seconds."""
    paths = sorted(folder.glob("*.pdf"))
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), initializer=_import) as pool:
        list(pool.map(read or _pages, [str(path) for path in paths[:2] * 4], chunksize=1))  # both processes are up
        began = time.perf_counter()
        pages, cpu_s = zip(*pool.map(read or _pages, map(str, paths), chunksize=1), strict=True)
        return Parsed(pages=sum(pages), seconds=time.perf_counter() - began, cpu_s=sum(cpu_s))


def tokenized(folder: Path) -> Parsed:
    """The same, and each paper's text goes through the tokenizer once."""
    return bare(folder, _tokens)


def _import() -> None:
    import pymupdf

    pymupdf.TOOLS.mupdf_display_errors(False)
    count_any_tokens("Load the tables.")


def _pages(path: str) -> tuple[int, float]:
    began = time.process_time()
    return len(_texts(path)), time.process_time() - began


def _tokens(path: str) -> tuple[int, float]:
    began = time.process_time()
    texts = _texts(path)
    count_any_tokens("\n\n".join(texts))
    return len(texts), time.process_time() - began


def _texts(path: str) -> list[str]:
    import pymupdf

    with pymupdf.open(path) as document:
        return [page.get_text() for page in document]


def job(folder: Path) -> Parsed:
    import pymupdf

    paths = sorted(folder.glob("*.pdf"))
    return asyncio.run(_job([_paper(path) for path in paths], sum(len(pymupdf.open(path)) for path in paths)))


async def _job(papers: list[Paper], pages: int) -> Parsed:
    with tempfile.TemporaryDirectory() as name:
        datasets: dict[str, Dataset[Any]] = {
            "papers": Dataset(Path(name) / "papers", Paper),
            "chunks": Dataset(Path(name) / "chunks", Chunk),
        }
        for index in range(0, len(papers), 32):
            datasets["papers"].write_sealed(index // 32, papers[index : index + 32])
        async with Workers(processes=len(os.sched_getaffinity(0)), initializer=WARM_UP) as workers:
            # Each is held for a moment, so that the next input starts the next one.
            await asyncio.gather(*(workers.run(time.sleep, 0.5) for _ in range(workers.processes)))
            lags_ms: list[float] = []
            probe = asyncio.create_task(_probe(lags_ms))
            cpu_s = -await _cpu_s(workers)
            began = time.perf_counter()
            await run([_parse(workers)], datasets, _no_call, stop=Stop(), hook=lambda event: None)
            seconds = time.perf_counter() - began
            cpu_s += await _cpu_s(workers)
            probe.cancel()
        chunks = sum(1 for _ in datasets["chunks"].rows())
    lags_ms.sort()
    return Parsed(
        pages=pages,
        seconds=seconds,
        cpu_s=cpu_s,
        chunks=chunks,
        lag_p99_ms=lags_ms[int(0.99 * len(lags_ms))],
        lag_most_ms=lags_ms[-1],
    )


async def _cpu_s(workers: Workers) -> float:
    """What the idle workers and this process have used so far: each worker is asked at the same time, so each answers."""
    used = await asyncio.gather(*(workers.run(call, time.process_time) for _ in range(workers.processes)))
    return sum(used) + time.process_time()


def _parse(workers: Workers) -> Job:
    async def claim(claims: Any) -> list[str]:
        return [paper for _, paper in claims]

    settings = Settings(chunk_size=1024, chunk_overlap=200, split_by="paper", train=0.7, seed=0)
    return parse(workers=workers, settings=settings, claim_text=claim)


async def _no_call(request: Any) -> Any:
    raise AssertionError("parsing asks no model")


async def _probe(lags_ms: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(PROBE_S)
        lags_ms.append(1000 * (time.perf_counter() - began - PROBE_S))


def _paper(path: Path) -> Paper:
    data = path.read_bytes()
    digest = sha256(data).hexdigest()
    return Paper(id=make_id("paper", digest), parent="", path=str(path), sha256=digest, bytes=len(data))


def chunk(folder: Path) -> Chunked:
    """The texts of some papers through both splitters; tokenizers are loaded before."""
    from llama_index.core.node_parser import SentenceSplitter

    from jobs.parsing import chunks, pdf

    texts = ["\n\n".join(pdf.extract(str(path)).pages) for path in sorted(folder.glob("*.pdf"))[:30]]
    splitter = SentenceSplitter(chunk_size=1024, chunk_overlap=200)
    chunks.warm_up()
    splitter.split_text("Warm. Up.")
    characters = sum(map(len, texts))
    began = time.process_time()
    ours = [
        [text[start:end] for start, end in chunks.split(text, chunk_size=1024, chunk_overlap=200)] for text in texts
    ]
    between = time.process_time()
    theirs = [splitter.split_text(text) for text in texts]
    ended = time.process_time()
    return Chunked(ours=characters / (between - began), theirs=characters / (ended - between), same=ours == theirs)


_ONE: dict[str, Any] = {"bare": bare, "tokens": tokenized, "job": job, "chunk": chunk}


if __name__ == "__main__":
    main()
