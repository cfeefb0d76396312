"""The command line in processes that are killed. As a script this module makes them: one fork for each life.

A life with a plan kills itself at a step of its work on the disk, or beside one of its requests to a provider of batches,
and may take the power with it: then the folder is left as a disk may leave it (see `fake_disk.Disk`). Without a plan nothing stands between gristmill and the disk, and the
one who started the life kills it when he likes. The journal tells what was asked, answered and committed until then.
The imports, which take longer than most lives, are made once, before the first fork.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import msgspec
from fake_disk import Disk
from ledger import Journal

import engine.runner
from engine.batches.policy import BatchTimes
from engine.events import Event, Hook, InputDone, InputFailed
from engine.records import make_id
from engine.requests import Call, Reply, Request
from jobs.cli.main import main
from jobs.models.openai.batches import Batches

__all__ = ["Life", "Lives", "Plan"]

IMPORTS = (
    "aiohttp",
    "jobs.models.openai.batches",
    "jobs.models.openai.endpoint",
    "jobs.report.page",
    "jobs.retrieval.lancedb_store",
    "jobs.session",
    "openai",
)
LONGEST_S = 600
REQUESTS = ("upload", "create", "get", "list", "download")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Die at the `nth` step that is one of `steps`: before an operation on the disk below `root`, as ``rename N.json.tmp``, or

    before or after a request to the provider of batches, as ``before create`` and ``after create``.

    ``report`` is the file that gets the step's name; where nobody died, how often there was each step.
    """

    root: str
    report: str
    steps: list[str] = []
    nth: int = 1
    power: bool = False
    seed: int = 0


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One process: the arguments of the command line, and the files that outlive it."""

    arguments: list[str]
    journal: str
    errors: str
    plan: Plan | None = None


# The one who starts and kills.


class Lives:
    """Starts lives, one after the other."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    @contextlib.contextmanager
    def begin(cls) -> Iterator[Lives]:
        here = Path(__file__)
        with subprocess.Popen(
            [sys.executable, str(here)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": str(here.parents[1])},
        ) as process:
            try:
                yield cls(process)
            finally:
                assert process.stdin is not None
                process.stdin.close()

    def live(self, life: Life, *, kill_after_s: float | None = None) -> int:
        """The exit code of a life, -9 when it was killed by itself or by us."""
        inbox, outbox = self._process.stdin, self._process.stdout
        assert inbox is not None
        assert outbox is not None
        inbox.write(msgspec.json.encode(life) + b"\n")
        child = int(outbox.readline())
        if not select.select([outbox], [], [], kill_after_s or LONGEST_S)[0]:
            os.kill(child, signal.SIGKILL)
        return int(outbox.readline())


# The processes that are killed.


def fork_lives() -> None:
    """Fork a process for each `Life` on stdin; its number, and later its exit code, are lines on stdout."""
    warnings.filterwarnings("ignore", "lancedb fork support is experimental")
    for name in IMPORTS:
        import_module(name)
    for line in sys.stdin.buffer:
        life = msgspec.json.decode(line, type=Life)
        child = os.fork()
        if not child:
            os._exit(live(life))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def live(life: Life) -> int:
    hasten()
    nowhere, errors = os.open(os.devnull, os.O_RDWR), os.open(life.errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor, target in ((nowhere, 0), (nowhere, 1), (errors, 2)):
        os.dup2(descriptor, target)
    with mock.patch("jobs.session.run", journalled(Journal(life.journal))):
        try:
            return main(life.arguments) if life.plan is None else dying(life.plan, life.arguments)
        except BaseException:  # noqa: BLE001 - a fork must not go on as the process that it was forked from
            sys.excepthook(*sys.exc_info())
            return 1
        finally:
            sys.stderr.flush()


def hasten() -> None:
    """Batches are sent, looked at and searched for after a moment: a life has seconds, and a provider's batch minutes."""
    assert BatchTimes.__init__.__kwdefaults__ is not None
    BatchTimes.__init__.__kwdefaults__.update(idle_s=0.2, quiet_s=0.05, poll_s=0.05, settle_s=0.3)


def dying(plan: Plan, arguments: Sequence[str]) -> int:
    """The command as far as the plan lets it come."""
    death = Death(plan)
    with death.disk.mounted(), death.beside_requests():
        code = main(arguments)
    Path(plan.report).write_bytes(msgspec.json.encode(death.seen))
    return code


class Death:
    """The fault of a `Disk` that counts the steps, and ends the process at the one that is planned."""

    def __init__(self, plan: Plan) -> None:
        self.seen: Counter[str] = Counter()
        self.disk = Disk(Path(plan.root), self, ours=written_by_gristmill)
        self._plan = plan
        self._left = plan.nth

    def __call__(self, count: int, operation: str) -> None:
        self.at(step_of(operation, self.disk.place))

    @contextlib.contextmanager
    def beside_requests(self) -> Iterator[None]:
        """Each request about batches has a step before it, and one after its answer."""
        with contextlib.ExitStack() as patches:
            for name in REQUESTS:
                original = getattr(Batches, name)
                around = self._listing(original) if name == "list" else self._sending(name, original)
                patches.enter_context(mock.patch.object(Batches, name, around))
            yield

    def _sending(self, name: str, original: Any) -> Any:
        async def sent(*arguments: Any) -> Any:
            self.at(f"before {name}")
            answer = await original(*arguments)
            self.at(f"after {name}")
            return answer

        return sent

    def _listing(self, original: Any) -> Any:
        async def listed(*arguments: Any) -> AsyncIterator[Any]:
            self.at("before list")
            async for state in original(*arguments):
                yield state
            self.at("after list")

        return listed

    def at(self, step: str) -> None:
        self.seen[step] += 1
        if step in self._plan.steps:
            self._left -= 1
            if not self._left:
                self._die(step)

    def _die(self, step: str) -> None:
        self.disk.dead = True  # other threads write nothing from here on
        Path(self._plan.report).write_text(step, "utf-8")
        if self._plan.power:
            self.disk.crash(Random(self._plan.seed))
        os.kill(os.getpid(), signal.SIGKILL)


def step_of(operation: str, place: str) -> str:
    """What is done to what kind of file: ``fdatasync N.checkpoint.jsonl``, ``rename N.done.json.tmp``, ``fsync folder``."""
    name = Path(place).name
    return f"{operation} {re.sub(r'^[0-9]+[.]', 'N.', name) if '.' in name else 'folder'}"


def written_by_gristmill(path: str) -> bool:
    """Databases and the log see to themselves, and the lock is not written."""
    return not re.search(r"/(run\.lock|run\.log.*|[a-z]+\.sqlite3.*|index/store.*)$", path)


def journalled(journal: Journal) -> Any:
    """`engine.runner.run` with every request and every commit in the journal."""
    asked: ContextVar[str] = ContextVar("asked", default="")  # each input has a task, and so a context, of its own

    def telling(hook: Hook) -> Hook:
        def tell(event: Event) -> None:
            if isinstance(event, (InputDone, InputFailed)) and asked.get():
                journal.committed(asked.get())
            hook(event)

        return tell

    def asking(call: Call) -> Call:
        async def ask(request: Request) -> Reply:
            key = f"{request.group} {make_id(request.to, msgspec.json.encode([request.messages, request.texts]).decode())}"
            asked.set(key)
            journal.asked(key)
            reply = await call(request)
            journal.answered(key)
            return reply

        return ask

    async def run(pipeline: Any, datasets: Any, call: Call, *, hook: Hook, **rest: Any) -> None:
        await engine.runner.run(pipeline, datasets, asking(call), hook=telling(hook), **rest)

    return run


if __name__ == "__main__":
    fork_lives()
