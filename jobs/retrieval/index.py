"""The `index` job: an embedding for each chunk, and the vector store that is built from all of them.

The vectors are what is paid for, so they are written as rows like everything else. The store is built from them when
the last shard is sealed, and again only if a seal has changed; it can be deleted at any time, and building it costs no
request.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engine.datasets import Dataset
from engine.errors import Fatal, Permanent
from engine.events import Hook, Note
from engine.files import naming_the_disk, write_atomic
from engine.job import Flaw, Item, Job, Prepared, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.config.retrieval import APPROXIMATE_FROM
from jobs.models.embeddings import BAD_VECTOR, embedding, pack, unpack, unusable, vectors
from jobs.records import Chunk, Vector
from jobs.run.background_imports import imported

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from jobs.retrieval.lancedb_store import ChunkStore

__all__ = ["Retriever", "index"]

BATCH = 256
"""The most searches of one pass, because all its results are in memory at once."""


def index(
    *,
    chunks: Dataset[Chunk],
    written: Dataset[Vector],
    fingerprint: Mapping[str, Any],
    slots: int,
    retriever: Retriever,
    hook: Hook = lambda _: None,
) -> Job:
    """The job that embeds every chunk; `retriever` builds the store from the vectors. `hook` gets an event for those that an
    earlier release sealed and that cannot be used.
    """
    usable = _Usable()

    async def process(chunk: Chunk, call: Call) -> Sequence[Record]:
        packed = pack(vectors(await call(embedding([chunk.text])))[0])
        if reason := usable.fault(packed):
            raise Permanent(reason, kind=BAD_VECTOR)
        return [Vector(id=make_id("vector", chunk.id), parent=chunk.id, vector=packed)]

    async def prepare() -> None:
        await asyncio.to_thread(usable.learn, written)

    async def conclude() -> None:
        left_out = await retriever.build(chunks, written, usable.fault)
        if left_out:
            again = f"retry --only {BAD_VECTOR} makes them again"
            hook(Note(job="index", text=f"{left_out} sealed vectors cannot be used and are left out: {again}"))

    return Job(
        name="index",
        reads=("chunks",),
        writes="index",
        row=Vector,
        expand=_expand,
        process=process,
        prepare=prepare,
        prepared=Prepared(dump=lambda: usable.length, load=usable.know),
        conclude=conclude,
        flaw=Flaw(kind=BAD_VECTOR, reason=lambda row: usable.fault(row.vector)),
        fingerprint=fingerprint,
        slots=slots,
    )


class _Usable:
    """Which vectors can be used: those that `unusable` lets pass, and of the length of the first that is sealed."""

    def __init__(self) -> None:
        self.length = 0

    def know(self, length: int) -> None:
        """Take the length that another process has found."""
        self.length = length

    def learn(self, written: Dataset[Vector]) -> None:
        """Find the length of the sealed vectors; blocks."""
        for number in written.sealed():
            for row in written.read(number):
                if not unusable(row.vector):
                    self.length = len(unpack(row.vector))
                    return

    def fault(self, packed: str) -> str:
        """Why a vector cannot be used; "" where it can."""
        found = unusable(packed)
        length = 0 if found else len(unpack(packed))
        if found or not self.length or length == self.length:
            return found
        return f"the vector has {length} numbers, those of this run have {self.length}"


class Retriever:
    """Searches the store in `folder`, which is opened at the first search: opening loads LanceDB and LlamaIndex.

    A store that is built here has an index from `approximate_from` vectors on.
    """

    def __init__(self, folder: Path, *, approximate_from: int = APPROXIMATE_FROM) -> None:
        self._folder = folder
        self._approximate_from = approximate_from
        self._opening = asyncio.Lock()
        self._store: ChunkStore | None = None
        self._searching = asyncio.Lock()  # two passes at once would only take each other's cores
        self._batches: dict[_Kind, _Pass] = {}

    async def build(
        self, chunks: Dataset[Chunk], written: Dataset[Vector], fault: Callable[[str], str] = unusable
    ) -> int:
        """Build the store, unless it was built from exactly these shards; raises `Fatal` when it cannot be used.

        Returns how many vectors were left out because of their `fault`.
        """
        stamp = await asyncio.to_thread(_stamp, chunks, written, self._approximate_from)
        path = self._folder / "stamp"
        if await asyncio.to_thread(lambda: path.exists() and path.read_bytes() == stamp):
            return 0
        store: Any = await imported("jobs.retrieval.lancedb_store")
        left_out: list[str] = []
        fresh = self._folder.with_name(f"{self._folder.name}.tmp")
        with naming_the_disk(self._folder):
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
            with _naming_the_store(self._folder):
                batches = _batches(chunks, written, fault, left_out)
                await store.ChunkStore.build(fresh, batches, approximate_from=self._approximate_from)
            await asyncio.to_thread(write_atomic, fresh / "stamp", stamp)
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            await asyncio.to_thread(fresh.rename, self._folder)
        self._store = None
        return len(left_out)

    async def search(
        self, vector: Sequence[float], *, top_k: int, paper_id: str | None, without_split: str | None
    ) -> list[tuple[str, float, str]]:
        """The `top_k` nearest chunks, nearest first, each as (id, cosine, text).

        With `paper_id` only chunks of that paper are searched, with `without_split` none of that split. Searches that
        differ only in their vector and arrive while another one runs share one pass over the store. Raises `Fatal` when
        the store cannot be used.
        """
        kind = _Kind(top_k=top_k, paper_id=paper_id, without_split=without_split)
        batch = self._batches.get(kind)
        if batch is None or len(batch.vectors) >= BATCH:
            batch = self._batches[kind] = _Pass()
        place = batch.add(vector)
        if place == 0:
            await self._send(kind, batch)
        return (await asyncio.shield(batch.found))[place]

    async def _send(self, kind: _Kind, batch: _Pass) -> None:
        """Wait for the search before this one, then run; no search can join after that."""
        try:
            await asyncio.sleep(0)
            async with self._searching:
                self._close(kind, batch)
                batch.found.set_result(await self._found(kind, batch.vectors))
        except Exception as error:  # noqa: BLE001 - it is raised again in each of those who wait
            batch.found.set_exception(error)
        except BaseException:
            batch.found.cancel()
            raise
        finally:
            self._close(kind, batch)

    def _close(self, kind: _Kind, batch: _Pass) -> None:
        if self._batches.get(kind) is batch:
            del self._batches[kind]

    async def _found(self, kind: _Kind, vectors: list[Sequence[float]]) -> list[list[tuple[str, float, str]]]:
        opened, store = await self._opened(), await imported("jobs.retrieval.lancedb_store")
        with _naming_the_store(self._folder):
            found = await opened.search(vectors, **msgspec.structs.asdict(kind))
        return [[(row["id"], store.similarity(row), row["text"]) for row in rows] for rows in found]

    async def texts(self, chunk_ids: Sequence[str]) -> list[str]:
        """The texts of these chunks, in this order; raises `Fatal` when the store cannot be used."""
        opened = await self._opened()
        with _naming_the_store(self._folder):
            nodes = await opened.aget_nodes(list(chunk_ids))
        by_id = {node.node_id: node.get_content() for node in nodes}
        return [by_id[id_] for id_ in chunk_ids]

    async def vectors(self, chunk_ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors of these chunks, by id, without chunks whose embedding failed; raises `Fatal` for an unusable
        store.
        """
        opened = await self._opened()
        with _naming_the_store(self._folder):
            return await opened.vectors(chunk_ids)

    async def _opened(self) -> ChunkStore:
        async with self._opening:
            if self._store is None:
                store: Any = await imported("jobs.retrieval.lancedb_store")
                with _naming_the_store(self._folder):
                    self._store = await store.ChunkStore.open(self._folder)
            return self._store


@contextlib.contextmanager
def _naming_the_store(folder: Path) -> Iterator[None]:
    """Turn LanceDB's errors into `Fatal`. A full disk and a damaged file raise the same RuntimeError: its text is
    shown.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        words = str(error).partition(", /")[0]  # where in its source it was raised follows
        raise Fatal(
            f"the vector store {folder} cannot be used ({' '.join(words.split())[:200]}): where the disk is full free "
            "some space, else delete that folder, then run the same command again: it is built again from what was paid for"
        ) from error


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What searches must have in common to share one pass."""

    top_k: int
    paper_id: str | None
    without_split: str | None


class _Pass:
    """Searches that share one pass. The first to join runs it; the others wait for `found`."""

    def __init__(self) -> None:
        self.vectors: list[Sequence[float]] = []
        self.found: asyncio.Future[list[list[tuple[str, float, str]]]] = asyncio.get_running_loop().create_future()

    def add(self, vector: Sequence[float]) -> int:
        self.vectors.append(vector)
        return len(self.vectors) - 1


def _expand(shard: ShardRows) -> Iterator[Item]:
    for chunk in shard["chunks"]:
        yield Item(id=chunk.id, value=chunk)


def _stamp(chunks: Dataset[Chunk], written: Dataset[Vector], approximate_from: int) -> bytes:
    made_from = [seal.sha256 for dataset in (chunks, written) for seal in dataset.seals()]
    another = [] if approximate_from == APPROXIMATE_FROM else [str(approximate_from)]
    return make_id(*made_from, *another).encode()


def _batches(
    chunks: Dataset[Chunk], written: Dataset[Vector], fault: Callable[[str], str], left_out: list[str]
) -> Iterator[list[tuple[Chunk, NDArray[np.float32]]]]:
    """The chunks that have a vector, shard by shard; the ids of those whose vector has a fault are added to `left_out`."""
    for number in written.sealed():
        rows = written.read(number)
        faulty = {row.id for row in rows if fault(row.vector)}
        left_out += faulty
        by_chunk = {row.parent: row.vector for row in rows if row.id not in faulty}
        batch = [(chunk, unpack(by_chunk[chunk.id])) for chunk in chunks.read(number) if chunk.id in by_chunk]
        if batch:
            yield batch
