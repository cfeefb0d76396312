"""A run with worker processes in which one process stops itself, or is killed, at a named step of its work on files.

`FREEZE` names process, step and signal, as in "worker, before fdatasync rows, SIGSTOP". The first process to reach the step
makes the file of `FREEZE_MARK`, with its number in it. A worker that has stopped itself is one that nobody can end: as on
a machine that is cut off. It does not end itself either, so when it goes on it does all that it still can.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fake_disk import answer, datasets, names, prompt_of
from ledger import Journal
from worker_places import three_jobs

import engine.cluster.head
from engine.checkpoints import MARK
from engine.cluster.head import Cluster
from engine.cluster.place import Place
from engine.cluster.subprocesses import Processes, serve
from engine.cluster.worker import Alive, Events, Worker, gone
from engine.errors import Permanent
from engine.events import Event, InputDone, InputFailed, Note
from engine.job import Job
from engine.records import Record
from engine.requests import Call, Reply, Request
from engine.runner import run
from engine.shard_run import JobContext
from engine.signals import Stop

SLOTS, WORKERS = 4, 2
BEAT_S, QUIET_S, LOST_S = 0.2, 1.5, 3.0
THAWED_S = 0.5
"""What a process that has thawed is given to do what it still can."""


def main() -> None:
    """The head: `frozen_mill.py RUN`."""
    freeze_in("head")
    engine.cluster.head.BEAT_S, engine.cluster.head.LOST_S = BEAT_S, LOST_S
    asyncio.run(_mill(Path(sys.argv[1])))


async def _mill(folder: Path) -> None:
    def hook(event: Event) -> None:
        if isinstance(event, Note):
            print(event.text, flush=True)

    stop = Stop()
    pipeline = jobs(_Owners(folder.parent / "owners.json"))
    places = _Places("frozen_mill:serve_worker", lambda name: str(folder).encode())
    async with Cluster(places, WORKERS, stop=stop, hook=hook) as cluster:
        cluster.serve([job.name for job in pipeline if not job.head])
        call = _calling(_journal(folder))
        await run(pipeline, datasets(folder, *names(pipeline)), call, stop=stop, hook=hook, elsewhere=cluster)
        await cluster.last_reports()
        await places.thawed()


def jobs(owners: dict[str, str] | None = None) -> list[Job]:
    """Those of `three_jobs`, with an answer kept for each failure."""

    def replying(process: Callable[[Any, Call], Awaitable[Sequence[Record]]]) -> Any:
        async def process_and_reply(row: Any, call: Call) -> Sequence[Record]:
            try:
                return await process(row, call)
            except Permanent as error:
                error.reply = f"an answer to {row.id}"
                raise

        return process_and_reply

    return [replace(job, process=replying(job.process)) for job in three_jobs(owners, slots=SLOTS)]


class _Owners(dict[str, str]):
    """What inputs have claimed, on disk: it outlives the head."""

    def __init__(self, path: Path) -> None:
        super().__init__(json.loads(path.read_bytes()) if path.exists() else {})
        self._path = path

    def setdefault(self, key: str, default: str = "") -> str:
        owner = super().setdefault(key, default)
        self._path.write_text(json.dumps(self), "utf-8")
        return owner


class _Places(Processes):
    """Those of this machine. One that is frozen cannot be ended."""

    def __init__(self, child: str, setup: Callable[[str], bytes]) -> None:
        super().__init__(child, setup)
        self._frozen: list[Any] = []

    async def end(self, name: str) -> str:
        process = self._processes.get(name)
        if process is not None and str(process._process.pid) == _frozen():
            self._frozen.append(self._processes.pop(name))
            return "cannot be reached"
        return await super().end(name)

    async def thawed(self) -> None:
        """Wait until what was frozen has gone on for a while."""
        while self._frozen and not _thawed().exists():  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)
        await asyncio.sleep(THAWED_S)

    async def close(self) -> None:
        for process in self._frozen:
            await process.end()


def serve_worker() -> None:
    """What a worker process calls."""
    freeze_in("worker")
    serve(_built)


@asynccontextmanager
async def _built(setup: bytes) -> AsyncIterator[Place]:
    folder = Path(setup.decode())
    stop, journal = Stop(), _journal(folder)
    alive = Alive(gone if "head" in _order() else lambda: None, quiet_s=QUIET_S, lost_s=LOST_S)
    events, pipeline = _Events(journal), jobs()
    found = datasets(folder, *names(pipeline))
    contexts = {
        job.name: JobContext(
            job=job,
            rank=rank,
            inputs=[found[each] for each in job.reads],
            output=found[job.writes],
            call=alive.watched(_calling(journal)),
            stop=stop,
            emit=events,
            retry=lambda job, failure: False,
            slots=asyncio.Semaphore(job.slots),
        )
        for rank, job in enumerate(pipeline)
    }
    yield Worker(contexts, stop=stop, events=events, alive=alive)


class _Events(Events):
    """Events, and a journal of what was committed."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def __call__(self, event: Event, shard: int = -1) -> None:
        if isinstance(event, (InputDone, InputFailed)):
            self._journal.committed(f"{event.job}/{event.id}")
        super().__call__(event, shard)


def _journal(folder: Path) -> Journal:
    return Journal(str(folder.parent / f"journal.{os.getpid()}"))


def _calling(journal: Journal) -> Call:
    async def call(request: Request) -> Reply:
        journal.asked(f"{request.job}/{prompt_of(request)}")
        await asyncio.sleep(0.02)
        return answer(request)

    return call


# The steps of the work on files.


def _order() -> list[str]:
    return os.environ.get("FREEZE", "").split(", ")


def _frozen() -> str:
    """The number of the process that has frozen, "" before."""
    path = Path(os.environ["FREEZE_MARK"])
    return path.read_text("ascii") if path.exists() else ""


def _thawed() -> Path:
    return Path(os.environ["FREEZE_MARK"] + ".thawed")


def freeze_in(process: str) -> None:
    """Stop this process at its step, if it is one of those that are to be stopped."""
    who, step, name = (*_order(), "", "")[:3]
    if who != process:
        return

    last = ""

    def at(found: str) -> None:
        nonlocal last
        if found.endswith("folder") and "sorted rows" in last:
            found += " of sorted rows"
        last = found or last
        if found != step:
            return
        try:
            mark = os.open(os.environ["FREEZE_MARK"], os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return
        os.write(mark, str(os.getpid()).encode())
        os.kill(os.getpid(), signal.Signals[name])
        _thawed().touch()

    def audited(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and arguments[2] & os.O_ACCMODE != os.O_RDONLY
        if (writes or event in ("os.rename", "os.remove")) and isinstance(arguments[0], (str, Path)):
            kind = _kind(Path(arguments[0]))
            at(f"{event.removeprefix('os.')} {kind}" if kind else "")

    def around(sync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            kind = _kind(path)
            if kind == "checkpoint" and _is_decided(path):
                kind = "mark"
            at(f"before sync {kind}" if kind else "")
            sync(descriptor)
            at(f"after sync {kind}" if kind else "")

        return synced

    sys.addaudithook(audited)
    os.fsync, os.fdatasync = around(os.fsync), around(os.fdatasync)


_KINDS = {
    "jsonl": "rows",
    "jsonl.tmp": "rows handed out",
    "checkpoint.jsonl": "checkpoint",
    "checkpoint.jsonl.tmp": "checkpoint handed out",
    "replies.json.tmp": "replies",
    "done.json.tmp": "seal",
}


def _kind(path: Path) -> str:
    """What a file of the first job is; "" for all others."""
    if path.name == "middle":
        return "folder"
    if path.parent.name != "middle":
        return ""
    suffix = path.name.partition(".")[2]
    return _KINDS.get(suffix, "sorted rows" if suffix.startswith("jsonl.") else "")


def _is_decided(path: Path) -> bool:
    with path.open("rb") as file:
        return any(line.startswith(MARK) for line in file)


if __name__ == "__main__":
    main()
