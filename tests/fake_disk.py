"""A disk that may die under the engine, and the books that show what a crash cost.

`Disk` stands between the engine and a real folder. It counts every durable operation (create, write, truncate, fsync,
rename, unlink, mkdir) and can end the process in front of any of them: it raises `Killed`, and from then on nothing
is written. `Disk.crash` then leaves in the folder only what a disk may keep after a power cut: of each file what was
synced, and any prefix of what was not, torn at any byte or padded with zeros; of each name that was made, moved or deleted
since its folder was synced, either state. Nothing is really synced, which makes hundreds of lives cheap. What is not
`ours` below the folder (a database, a log) is left to the real disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import io
import os
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from engine.datasets import Dataset
from engine.errors import Permanent
from engine.events import Event, InputDone, InputFailed
from engine.job import Item, Job, Pipeline, ShardRows
from engine.records import Record, make_id
from engine.requests import Call, Reply, Request, Usage
from engine.virtualtime import run_virtual

# A fault looks at an operation's number and name before it is carried out, and raises if it is not to be.
Fault = Callable[[int, str], None]


class Killed(BaseException):
    """The process ends here: nothing may catch this."""


def kill_at(number: int) -> Fault:
    def fault(count: int, _: str) -> None:
        if count >= number:
            raise Killed(f"killed in front of operation {number}")

    return fault


def full_from(number: int) -> Fault:
    """The disk is full from operation `number` on: writes fail, deleting does not."""

    def fault(count: int, operation: str) -> None:
        if count >= number and operation in {"create", "write", "mkdir"}:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fault


@dataclass(eq=False)
class _Inode:
    """A file: what the disk surely holds, and what was done to it since. None is a folder."""

    durable: bytes | None
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, written) or (size, None): cut

    def survive(self, random: Random) -> bytes | None:
        if self.durable is None:
            return None
        data = bytearray(self.durable)
        kept = random.choice([0, len(self.pending), random.randint(0, len(self.pending))])
        for at, written in self.pending[:kept]:
            _apply(data, at, written)
        if kept < len(self.pending):
            at, written = self.pending[kept]
            if written is not None:
                torn = written[: random.randint(0, len(written))]
                zeros = random.choice([0, 0, len(written) - len(torn)])
                _apply(data, at, torn + bytes(zeros))
        return bytes(data)


class Disk:
    """The folder `root`, as seen by one life of a process. Everything in it at first is durable."""

    def __init__(
        self,
        root: Path,
        fault: Fault = lambda count, operation: None,
        *,
        short_writes: int = 0,
        ours: Callable[[str], bool] = lambda path: True,
    ) -> None:
        self.root = str(root)
        self.operations: list[str] = []
        self.place = ""  # what the operation that comes next is done to
        self.on_loop_thread: list[str] = []
        self.dead = False
        self._crashing = 0  # the thread that leaves what the disk has kept
        self._fault = fault
        self._short_writes = short_writes
        self._ours = ours
        self._lock = threading.RLock()
        found = [path for path in root.rglob("*") if self._is_below(path)]
        self._names = {str(path): _Inode(None if path.is_dir() else path.read_bytes()) for path in found}
        self._durable_names = dict(self._names)
        self._moves: list[tuple[str, list[tuple[str, _Inode | None]]]] = []  # (folder, what became of names in it)
        self._descriptors: dict[int, tuple[str, _Inode]] = {}
        self._files: list[_File] = []

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """While inside, what is done below the root goes through here."""
        self._open, self._os_open = io.open, os.open
        with contextlib.ExitStack() as patches:
            for target, name, wrapper in [
                (io, "open", self.open),
                (os, "open", self._open_descriptor),
                (os, "fsync", self._syncing("fsync")),
                (os, "fdatasync", self._syncing("fdatasync")),
                (os, "replace", self._moving(os.replace)),
                (os, "rename", self._moving(os.rename)),
                (os, "unlink", self._unlinking(os.unlink)),
                (os, "rmdir", self._unlinking(os.rmdir)),
                (os, "mkdir", self._making(os.mkdir)),
            ]:
                patches.enter_context(mock.patch.object(target, name, wrapper))
            patches.enter_context(mock.patch("aiofiles.threadpool.sync_open", self.open))
            try:
                yield
            finally:
                for file in self._files:
                    file.close()

    def crash(self, random: Random) -> None:
        """Leave in the root what a disk may hold after the power went. While it is mounted nobody else may write."""
        self._crashing = threading.get_ident()
        names = dict(self._durable_names)
        patience = random.choice([0.0, 0.5, 1.0])  # how many of the unsynced names had reached the disk
        for _, changes in self._moves:
            if random.random() < patience:
                _rename(names, changes)
        contents = {path: inode.survive(random) for path, inode in names.items()}
        for path in sorted(Path(self.root).rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
            elif path.is_file() and self._is_below(path):
                path.unlink()
        for path, data in sorted(contents.items()):
            if not os.path.isdir(os.path.dirname(path)):  # noqa: PTH112, PTH120
                continue  # its folder's own name was lost
            if data is None:
                Path(path).mkdir(exist_ok=True)
            else:
                Path(path).write_bytes(data)

    def open(self, path: Any, mode: str = "r", buffering: int = -1, *args: Any, **kwargs: Any) -> Any:
        """Stands for the built-in `open`; only binary files that are written to are ours."""
        if not self._is_ours(path) or mode not in {"wb", "ab", "r+b"}:
            if self._is_ours(path):
                self._note_the_loop(f"open {mode}")
            file = self._open(path, mode, buffering, *args, **kwargs)
            self._descriptors.pop(file.fileno(), None)
            return file
        with self._lock:
            name = os.fspath(path)
            self._create(name, must_exist=mode == "r+b")
            inode = self._names.get(name, _Inode(b""))  # of a name that another process made
            file = _File(self, name, mode, inode)
            self._descriptors[file.fileno()] = name, inode
            self._files.append(file)
        if buffering == 0:
            return file
        return io.BufferedRandom(file) if mode == "r+b" else io.BufferedWriter(file)

    def step(self, operation: str, place: str) -> None:
        """One more operation: raises what the fault says."""
        self._note_the_loop(operation)
        self.place = place
        if self.dead:
            raise Killed("killed before")
        try:
            self._fault(len(self.operations), operation)
        except Killed:
            self.dead = True
            raise
        self.operations.append(operation)

    def _note_the_loop(self, operation: str) -> None:
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            self.on_loop_thread.append(operation)

    def _create(self, name: str, *, must_exist: bool = False) -> None:
        if name in self._names or must_exist:
            return
        self.step("create", name)
        self._move(name, [(name, _Inode(b""))])

    def _move(self, name: str, changes: list[tuple[str, _Inode | None]]) -> None:
        self._moves.append((os.path.dirname(name), changes))  # noqa: PTH120
        _rename(self._names, changes)

    def _open_descriptor(self, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if not self._is_ours(path):
            descriptor = self._os_open(path, flags, *args, **kwargs)
            self._descriptors.pop(descriptor, None)
            return descriptor
        with self._lock:
            name = os.fspath(path)
            if flags & os.O_CREAT:
                self._create(name)
            descriptor = self._os_open(path, flags, *args, **kwargs)
            self._descriptors[descriptor] = name, self._names.get(name, _Inode(None))
            return descriptor

    def _syncing(self, operation: str) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            with self._lock:
                if descriptor not in self._descriptors:
                    return
                name, inode = self._descriptors[descriptor]
                self.step(operation, name)
                if inode.durable is not None:
                    data = bytearray(inode.durable)
                    for at, written in inode.pending:
                        _apply(data, at, written)
                    inode.durable, inode.pending = bytes(data), []
                    return
                for folder, changes in self._moves:
                    if folder == name:
                        _rename(self._durable_names, changes)
                self._moves = [move for move in self._moves if move[0] != name]

        return sync

    def _moving(self, real: Callable[..., None]) -> Callable[..., None]:
        def move(source: Any, target: Any, **kwargs: Any) -> None:
            if not self._is_ours(source):
                real(source, target, **kwargs)
                return
            with self._lock:
                moved = os.fspath(source)
                self.step("rename", moved)
                real(source, target, **kwargs)
                self._move(moved, [(os.fspath(target), self._names[moved]), (moved, None)])

        return move

    def _unlinking(self, real: Callable[..., None]) -> Callable[..., None]:
        def unlink(path: Any, **kwargs: Any) -> None:
            with self._lock:
                folder, _ = self._descriptors.get(kwargs.get("dir_fd") or -1, ("", None))
                name = f"{folder}/{path}" if folder else os.fspath(path)
                if name in self._names and self._is_ours(name):
                    self.step("unlink", name)
                real(path, **kwargs)
                self._move(name, [(name, None)])

        return unlink

    def _making(self, real: Callable[..., None]) -> Callable[..., None]:
        def mkdir(path: Any, *args: Any, **kwargs: Any) -> None:
            if not self._is_ours(path):
                real(path, *args, **kwargs)
                return
            with self._lock:
                self.step("mkdir", os.fspath(path))
                real(path, *args, **kwargs)
                self._move(os.fspath(path), [(os.fspath(path), _Inode(None))])

        return mkdir

    def _is_ours(self, path: Any) -> bool:
        return threading.get_ident() != self._crashing and self._is_below(path)

    def _is_below(self, path: Any) -> bool:
        if not isinstance(path, (str, os.PathLike)):
            return False
        name = os.fspath(path)
        return isinstance(name, str) and name.startswith(self.root) and self._ours(name)


class _File(io.FileIO):
    """An open file of a `Disk`; the operations on it are counted, and remembered until they are synced."""

    def __init__(self, disk: Disk, name: str, mode: str, inode: _Inode) -> None:
        super().__init__(
            name, {"r+b": "r+"}.get(mode, mode[0]), opener=lambda path, flags: disk._os_open(path, flags, 0o644)
        )
        self._disk = disk
        self._name = name
        self._inode = inode
        if mode == "wb":
            inode.pending.append((0, None))

    def write(self, data: Any) -> int:
        with self._disk._lock:
            try:
                self._disk.step("write", self._name)
            except OSError:
                self._put(bytes(data)[: len(data) // 2])  # a disk fills up in the middle of a write
                raise
            return self._put(bytes(data)[: self._disk._short_writes or None])

    def truncate(self, size: int | None = None) -> int:
        assert size is not None
        with self._disk._lock:
            self._disk.step("truncate", self._name)
            self._inode.pending.append((size, None))
            return super().truncate(size)

    def _put(self, data: bytes) -> int:
        at = os.fstat(self.fileno()).st_size if "a" in self.mode else self.tell()
        self._inode.pending.append((at, data))
        return super().write(data) or 0


def _apply(data: bytearray, at: int, written: bytes | None) -> None:
    if written is None:
        del data[at:]
    else:
        data[at : at + len(written)] = written


def _rename(names: dict[str, _Inode], changes: Sequence[tuple[str, _Inode | None]]) -> None:
    for name, inode in changes:
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def live(disk: Disk, body: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    """One life of a process: run `body` in an event loop of its own on `disk`; returns whether it was killed."""
    with disk.mounted():
        try:
            asyncio.run(body())
        except BaseException:
            if not disk.dead:
                raise
    return disk.dead


def virtually(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test in virtual time, where `quiet` can wait until nothing moves."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


async def quiet() -> None:
    """Wait until nothing can run any more, on the disk neither: only then does virtual time go on."""
    await asyncio.sleep(60)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Row(Record):
    """The rows of these tests."""

    text: str


@dataclass
class Books:
    """What was processed and what was committed, over all lives: the one place where the crash contract is checked."""

    processed: Counter[str] = field(default_factory=Counter)
    committed: set[str] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)
    in_flight_at_kills: int = 0
    most_in_flight: int = 0

    def begin(self, id_: str) -> None:
        assert id_ not in self.committed, "a committed input is processed again"
        self.processed[id_] += 1
        self.in_flight.add(id_)
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))

    def commit(self, id_: str) -> None:
        self.in_flight.discard(id_)
        self.committed.add(id_)

    def kill(self) -> None:
        self.in_flight_at_kills += len(self.in_flight)
        self.in_flight.clear()

    def hook(self, event: Event) -> None:
        if isinstance(event, (InputDone, InputFailed)):
            self.commit(f"{event.job} {event.id}")

    @property
    def paid_twice(self) -> int:
        return sum(self.processed.values()) - len(self.processed)

    def check(self) -> None:
        assert self.paid_twice <= self.in_flight_at_kills


def outcome(id_: str) -> list[Row]:
    """What any job of these tests makes of an input, by the input alone: no row, up to three, or a failure."""
    random = Random(id_)
    if random.random() < 0.15:
        raise Permanent(f"nothing good comes of {id_}", kind=random.choice(["empty", "odd"]))
    return [
        Row(id=make_id(id_, number), parent=id_, text="é" * random.choice([0, 1, 40, 3000]))
        for number in range(random.choice([0, 1, 1, 2, 3]))
    ]


def grow(name: str, *, reads: str, writes: str, books: Books, **settings: Any) -> Job:
    """A job that makes of each row what `outcome` says, with one request for each."""

    async def process(row: Row, call: Call) -> Sequence[Record]:
        books.begin(f"{name} {row.id}")
        await call(request(row.id))
        return outcome(row.id)

    return Job(
        **{"name": name, "reads": (reads,), "writes": writes, "row": Row, "expand": each(reads), "process": process}
        | settings
    )


def each(dataset: str) -> Callable[[ShardRows], Iterator[Item]]:
    """Every row of `dataset` is an item."""

    def expand(rows: ShardRows) -> Iterator[Item]:
        for row in rows[dataset]:
            yield Item(id=row.id, value=row)

    return expand


def request(text: str) -> Request:
    return Request(to="generator", messages=[{"role": "user", "content": text}], characters=len(text))


def prompt_of(request: Request) -> str:
    """What a request of `request` asks."""
    return request.messages[-1]["content"]


def shuffled(seed: int, *, longest: int = 5) -> Call:
    """An endpoint that answers in an order of its own."""
    random = Random(seed)

    async def call(request: Request) -> Reply:
        for _ in range(random.randint(0, longest)):
            await asyncio.sleep(0)
        return answer(request)

    return call


def answer(request: Request) -> Reply:
    usage = Usage(requests=1, prompt_tokens=request.characters, completion_tokens=3, cost_usd=0.1 * request.characters)
    return Reply(text=prompt_of(request), usage=usage)


def datasets(run: Path, *names: str) -> dict[str, Dataset[Row]]:
    return {name: Dataset(run / name, Row) for name in names}


def deal(run: Path, sizes: Sequence[int], name: str = "source") -> Dataset[Row]:
    """A dataset of sealed shards with as many rows as `sizes` says."""
    source = Dataset(run / name, Row)
    for index, size in enumerate(sizes):
        ids = [make_id(name, index, number) for number in range(size)]
        source.write_sealed(index, [Row(id=id_, parent="", text=id_) for id_ in ids])
    return source


def names(pipeline: Pipeline) -> Mapping[str, None]:
    """The datasets that a pipeline of jobs touches."""
    return dict.fromkeys(name for job in pipeline if isinstance(job, Job) for name in (*job.reads, job.writes))
