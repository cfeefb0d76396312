from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from numpy.typing import NDArray
from samples import chunk, embedder, processed, sealed, vector

from engine.datasets import Dataset
from engine.errors import Fatal
from engine.job import ShardRows
from engine.testing import scripted
from jobs.models.embeddings import unpack
from jobs.records import Chunk, Vector
from jobs.retrieval import inverted_file
from jobs.retrieval import lancedb_store as store
from jobs.retrieval.index import Retriever, index
from jobs.retrieval.lancedb_store import ChunkStore

pytestmark = pytest.mark.slow  # it loads LanceDB and LlamaIndex: for six seconds

VECTORS = {"a": [1.0, 0.0], "b": [0.8, 0.6], "c": [0.0, 1.0], "d": [-1.0, 0.0]}
CHUNKS = [
    chunk("a", paper="one", split="train"),
    chunk("b", paper="one", split="val"),
    chunk("c", paper="two", split="train"),
    chunk("d", paper="it's two", split="val", title="O'Hara"),
]


def datasets(folder: Path, chunks: Sequence[Chunk] = CHUNKS) -> tuple[Dataset[Chunk], Dataset[Vector]]:
    shards = [chunks[:2], chunks[2:]]
    written = [[vector(row, *VECTORS[row.id]) for row in shard if row.id in VECTORS] for shard in shards]
    return sealed(folder / "chunks", Chunk, *shards), sealed(folder / "index", Vector, *written)


async def built(folder: Path, chunks: Sequence[Chunk] = CHUNKS, *, approximate_from: int = 50_000) -> Retriever:
    retriever = Retriever(folder / "store", approximate_from=approximate_from)
    await retriever.build(*datasets(folder, chunks))
    return retriever


async def search(retriever: Retriever, *at: float, top_k: int = 4, paper: str = "", without: str = "") -> list[str]:
    found = await retriever.search(at, top_k=top_k, paper_id=paper or None, without_split=without or None)
    return [id_ for id_, _, _ in found]


# The job


async def test_the_job(tmp_path: Path) -> None:
    """Each chunk costs one embedding request, and its row holds the vector that came back."""
    retriever = Retriever(tmp_path / "store")
    chunks, written = datasets(tmp_path)
    job = index(chunks=chunks, written=written, fingerprint={}, slots=1, retriever=retriever)
    call = scripted(embedder(lambda text: [float(len(text)), 0.5]), forever=True)
    rows = await processed(job, ShardRows(0, {"chunks": CHUNKS}), call)
    assert [request.texts for request in call.requests] == [[row.text] for row in CHUNKS]
    assert [row.parent for row in rows] == ["a", "b", "c", "d"]
    assert unpack(rows[0].vector).tolist() == [float(len(CHUNKS[0].text)), 0.5]


async def test_its_conclusion_builds_the_store(tmp_path: Path) -> None:
    """When every shard is sealed the store is made, and can be searched."""
    retriever = Retriever(tmp_path / "store")
    chunks, written = datasets(tmp_path)
    job = index(chunks=chunks, written=written, fingerprint={}, slots=1, retriever=retriever)
    assert job.conclude is not None
    await job.conclude()
    assert await search(retriever, 1.0, 0.0, top_k=1) == ["a"]


# Searching


async def test_what_is_found(tmp_path: Path) -> None:
    """The nearest come first, each with its cosine and its text."""
    found = await (await built(tmp_path)).search([2.0, 0.0], top_k=3, paper_id=None, without_split=None)
    assert [(id_, text) for id_, _, text in found] == [(id_, f"The text of {id_}.") for id_ in ("a", "b", "c")]
    assert [score for _, score, _ in found] == pytest.approx([1.0, 0.8, 0.0], abs=1e-6)


async def test_within_a_paper_and_without_a_split(tmp_path: Path) -> None:
    """A search can be held to one paper, and can leave out a split; a quote in a name does no harm."""
    retriever = await built(tmp_path)
    assert await search(retriever, 1.0, 0.0) == ["a", "b", "c", "d"]
    assert await search(retriever, 1.0, 0.0, paper="one") == ["a", "b"]
    assert await search(retriever, 1.0, 0.0, paper="it's two") == ["d"]
    assert await search(retriever, 1.0, 0.0, paper="' or 1=1 --") == []
    assert await search(retriever, 1.0, 0.0, without="val") == ["a", "c"]
    assert await search(retriever, 1.0, 0.0, paper="it's two", without="val") == []


async def test_ties(tmp_path: Path) -> None:
    """Chunks that are equally near stand in order of id, and the same ones are found each time."""
    names = [f"{number:02}" for number in range(12)]
    chunks = [chunk(name) for name in reversed(names)]
    written = [vector(row, 0.6, 0.8) for row in chunks]
    retriever = Retriever(tmp_path / "store")
    await retriever.build(sealed(tmp_path / "c", Chunk, chunks), sealed(tmp_path / "i", Vector, written))
    assert await search(retriever, 1.0, 1.0, top_k=12) == names
    assert len({tuple(await search(retriever, 1.0, 1.0, top_k=5)) for _ in range(5)}) == 1


async def test_texts_by_id(tmp_path: Path) -> None:
    """Texts come in the order of the ids, whatever the order in the table."""
    retriever = await built(tmp_path)
    assert await retriever.texts(["d", "a", "c"]) == [f"The text of {id_}." for id_ in "dac"]
    assert await retriever.texts([]) == []


async def test_a_chunk_without_a_vector(tmp_path: Path) -> None:
    """A chunk whose embedding failed is not found; the others are."""
    chunks, written = datasets(tmp_path, [*CHUNKS, chunk("failed")])
    retriever = Retriever(tmp_path / "store")
    await retriever.build(chunks, written)
    assert await search(retriever, 1.0, 0.0, top_k=9) == ["a", "b", "c", "d"]


async def test_nothing_was_embedded(tmp_path: Path) -> None:
    """A store without a single vector finds nothing, for vectors of any length."""
    retriever = Retriever(tmp_path / "store")
    await retriever.build(sealed(tmp_path / "c", Chunk, CHUNKS), sealed(tmp_path / "i", Vector, []))
    assert await search(retriever, 1.0, 0.0) == []
    assert await search(retriever, 1.0, 0.0, paper="one") == []


async def test_a_vector_of_zeros(tmp_path: Path) -> None:
    """A vector without a direction is near nothing, and its score is a number that JSON can hold."""
    written = sealed(tmp_path / "i", Vector, [vector(CHUNKS[0], 0.0, 0.0), vector(CHUNKS[1], 1.0, 0.0)])
    retriever = Retriever(tmp_path / "store")
    await retriever.build(sealed(tmp_path / "c", Chunk, CHUNKS[:2]), written)
    for at in ([1.0, 0.0], [0.0, 0.0]):
        found = await retriever.search(at, top_k=2, paper_id=None, without_split=None)
        assert all(np.isfinite(score) for _, score, _ in found), found


async def test_searches_at_once(tmp_path: Path) -> None:
    """Many searches of a store that is not open yet open it once and answer as one would."""
    retriever = Retriever(tmp_path / "store")
    await retriever.build(*datasets(tmp_path))
    found = await asyncio.gather(*(search(retriever, 0.0, 1.0, top_k=2) for _ in range(20)))
    assert found == [["c", "b"]] * 20


async def test_a_damaged_store(tmp_path: Path) -> None:
    """A store that cannot be opened ends in one line that says it may be deleted; then it is made anew."""
    await built(tmp_path)
    shutil.rmtree(tmp_path / "store" / "chunks.lance")
    with pytest.raises(Fatal, match=r"delete that folder, then run the same command again[^\n]*$"):
        await search(Retriever(tmp_path / "store"), 1.0, 0.0)
    shutil.rmtree(tmp_path / "store")
    assert await search(await built(tmp_path), 1.0, 0.0, top_k=1) == ["a"]


# The stamp


async def made_at(folder: Path) -> int:
    return await asyncio.to_thread(lambda: (folder / "store").stat().st_ino)


async def test_it_is_not_built_again(tmp_path: Path) -> None:
    """With the same seals the store is left alone; a changed seal, or a store that is gone, builds it anew."""
    retriever = await built(tmp_path)
    first = await made_at(tmp_path)
    (tmp_path / "store" / "witness").touch()
    await built(tmp_path)
    assert await made_at(tmp_path) == first
    await built(tmp_path, [CHUNKS[0], CHUNKS[1], chunk("c", text="Another text.")])
    assert not (tmp_path / "store" / "witness").exists()
    assert await Retriever(tmp_path / "store").texts(["c"]) == ["Another text."]
    await retriever.build(*datasets(tmp_path))
    assert await search(retriever, -1.0, 0.0, top_k=1) == ["d"]


async def test_a_build_that_was_cut_off(tmp_path: Path) -> None:
    """What a crash left of a build is no store: it is thrown away and made again."""
    await built(tmp_path)
    (tmp_path / "store").rename(tmp_path / "store.tmp")
    (tmp_path / "store.tmp" / "witness").touch()
    assert await search(await built(tmp_path), 1.0, 0.0, top_k=1) == ["a"]
    (tmp_path / "store" / "stamp").unlink()
    (tmp_path / "store" / "witness").touch()
    assert await search(await built(tmp_path), 1.0, 0.0, top_k=1) == ["a"]
    assert not (tmp_path / "store" / "witness").exists()


# The store itself


def many(count: int, dimension: int) -> list[tuple[Chunk, NDArray[np.float32]]]:
    """Chunks around a few dozen topics, as real ones are."""
    random = np.random.default_rng(0)
    topics = random.normal(size=(40, dimension))
    values = topics[np.arange(count) % 40] + 0.7 * random.normal(size=(count, dimension))
    return [(chunk(f"{number:05}"), row.astype(np.float32)) for number, row in enumerate(values)]


def nearest(rows: Sequence[tuple[Chunk, NDArray[np.float32]]], at: NDArray[np.float64], top_k: int) -> list[str]:
    matrix = np.array([row for _, row in rows], dtype=np.float64)
    cosines = matrix @ at / np.linalg.norm(matrix, axis=1) / np.linalg.norm(at)
    return [rows[place][0].id for place in np.argsort(-cosines)[:top_k]]


async def ids(built: ChunkStore, at: Sequence[float], top_k: int) -> list[str]:
    return (await built.aquery(VectorStoreQuery(query_embedding=list(at), similarity_top_k=top_k))).ids or []


async def test_exact_search_is_exact(tmp_path: Path) -> None:
    """A store that is small enough answers as comparing every vector does."""
    rows = many(500, 32)
    made = await ChunkStore.build(tmp_path / "store", [rows[:200], rows[200:]], approximate_from=501)
    assert await made.client.list_indices() == []
    for at in np.random.default_rng(1).normal(size=(20, 32)):
        assert await ids(made, at, 5) == nearest(rows, at, 5)


async def test_approximate_search_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large store answers by its index: nine in ten of the true five nearest are among its five."""
    monkeypatch.setattr(inverted_file, "COMPARED", 300)
    rows = many(2000, 32)
    await ChunkStore.build(tmp_path / "store", [rows[:999], rows[999:]], approximate_from=2000)
    opened = await ChunkStore.open(tmp_path / "store")
    queries = [rows[place][1] + 0.3 for place in range(0, 2000, 50)]
    found = [len({*await ids(opened, at, 5)} & {*nearest(rows, at, 5)}) for at in queries]
    assert 0.9 <= sum(found) / len(found) / 5 < 1, "cells were left out, and few of the nearest were in them"


@pytest.mark.parametrize("approximate_from", [1, 301])
async def test_two_builds_answer_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, approximate_from: int) -> None:
    """The same batches make a store with the same answers and scores, with an index or without, however they were cut."""
    monkeypatch.setattr(inverted_file, "COMPARED", 30)
    rows = many(300, 16)
    one = await ChunkStore.build(tmp_path / "one", [rows[:100], rows[100:]], approximate_from=approximate_from)
    monkeypatch.setattr(store, "_ADDED", 70)
    two = await ChunkStore.build(tmp_path / "two", [rows[:80], rows[80:]], approximate_from=approximate_from)
    for at in np.random.default_rng(2).normal(size=(10, 16)):
        query = VectorStoreQuery(query_embedding=list(at), similarity_top_k=10)
        first, second = await one.aquery(query), await two.aquery(query)
        assert (first.ids, first.similarities) == (second.ids, second.similarities)


async def test_with_an_index(tmp_path: Path) -> None:
    """A store with an index finds what one without finds: texts and scores, in one paper, and without a split."""
    retriever = await built(tmp_path, approximate_from=4)
    assert (tmp_path / "store" / "inverted").exists()
    found = await retriever.search([2.0, 0.0], top_k=3, paper_id=None, without_split=None)
    assert [(id_, text) for id_, _, text in found] == [(id_, f"The text of {id_}.") for id_ in ("a", "b", "c")]
    assert [score for _, score, _ in found] == pytest.approx([1.0, 0.8, 0.0], abs=1e-6)
    assert await search(retriever, 1.0, 0.0, without="val") == ["a", "c"]
    assert await search(retriever, 1.0, 0.0, without="no such split") == ["a", "b", "c", "d"]
    assert await search(retriever, 1.0, 0.0, paper="one", without="val") == ["a"]
    assert await search(retriever, 0.0, 0.0, top_k=1) == ["a"]
    again = Retriever(tmp_path / "store")
    assert await search(again, 0.0, 1.0, top_k=2) == ["c", "b"]
    assert list((await again.vectors(["d", "a"])).keys() ^ {"a", "d"}) == []


async def test_another_size_builds_it_anew(tmp_path: Path) -> None:
    """Another `approximate_from` is another store; nothing but the setting of the run decides which it is."""
    await built(tmp_path)
    first = await made_at(tmp_path)
    await built(tmp_path, approximate_from=2)
    assert (tmp_path / "store" / "inverted").exists()
    assert await made_at(tmp_path) != first
    await built(tmp_path)
    assert not (tmp_path / "store" / "inverted").exists()


async def test_a_store_of_an_earlier_release(tmp_path: Path) -> None:
    """A store with LanceDB's own index, which an earlier release built, is searched by it, and stays as it is."""
    rows = many(300, 16)
    chunks, written = sealed(tmp_path / "c", Chunk, [row for row, _ in rows]), [vector(row, *at) for row, at in rows]
    retriever = Retriever(tmp_path / "store")
    made = sealed(tmp_path / "i", Vector, written)
    await retriever.build(chunks, made)
    table = (await ChunkStore.open(tmp_path / "store")).client
    from lancedb.index import IvfHnswSq  # not at the top: the store sets what LanceDB logs before it imports it

    await table.create_index("vector", config=IvfHnswSq(distance_type="cosine"))
    await Retriever(tmp_path / "store").build(chunks, made)
    opened = await ChunkStore.open(tmp_path / "store")
    assert [index.index_type for index in await opened.client.list_indices()] == ["IvfHnswSq"]
    found = [(await search(Retriever(tmp_path / "store"), *at.tolist(), top_k=1))[0] for _, at in rows[:20]]
    assert found == [row.id for row, _ in rows[:20]]


async def test_filters_that_it_has_not(tmp_path: Path) -> None:
    """A filter that the store cannot apply is an error, never left out in silence."""
    made = await ChunkStore.build(tmp_path / "store", [many(3, 2)], approximate_from=9)
    for odd in (
        MetadataFilter(key="split", value="val", operator=FilterOperator.CONTAINS),
        MetadataFilter(key="text", value="val"),
    ):
        query = VectorStoreQuery(query_embedding=[1, 0], filters=MetadataFilters(filters=[odd]))
        with pytest.raises(ValueError, match="this store filters by title, split"):
            await made.aquery(query)


# Through LlamaIndex


class Compass(MockEmbedding):
    """An embedding that knows the chunks' texts and looks east for all else."""

    def __init__(self) -> None:
        super().__init__(embed_dim=2)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return VECTORS.get(query, [1.0, 0.0])

    def _get_query_embedding(self, query: str) -> list[float]:
        return VECTORS.get(query, [1.0, 0.0])


def through_llama_index(folder: Path) -> VectorStoreIndex:
    made = asyncio.run(ChunkStore.open(folder / "store"))
    return VectorStoreIndex.from_vector_store(made, embed_model=Compass())


def test_as_a_retriever(tmp_path: Path) -> None:
    """LlamaIndex's retriever finds the chunks with their texts, metadata and scores, awaited or not."""
    asyncio.run(built(tmp_path))
    retriever = through_llama_index(tmp_path).as_retriever(similarity_top_k=2)
    found = retriever.retrieve("c")
    assert [(node.node_id, node.get_content()) for node in found] == [("c", "The text of c."), ("b", "The text of b.")]
    assert [node.score for node in found] == pytest.approx([1.0, 0.6], abs=1e-6)
    assert found[0].metadata == {"title": "On Mills", "split": "train", "page_first": 1, "page_last": 2}
    assert [node.node_id for node in asyncio.run(retriever.aretrieve("c"))] == ["c", "b"]


def test_its_filters(tmp_path: Path) -> None:
    """Metadata filters and document ids of LlamaIndex hold."""
    asyncio.run(built(tmp_path))
    made = through_llama_index(tmp_path)
    only_val = MetadataFilters(filters=[MetadataFilter(key="split", value="val")])
    ohara = MetadataFilters(filters=[MetadataFilter(key="title", value="O'Hara")])
    late = MetadataFilters(filters=[MetadataFilter(key="page_first", value=1, operator=FilterOperator.NE)])
    assert [node.node_id for node in made.as_retriever(similarity_top_k=4, filters=only_val).retrieve("east")] == [
        "b",
        "d",
    ]
    assert [node.node_id for node in made.as_retriever(similarity_top_k=4, filters=ohara).retrieve("east")] == ["d"]
    assert made.as_retriever(similarity_top_k=4, filters=late).retrieve("east") == []
    assert [node.node_id for node in made.as_retriever(doc_ids=["two"]).retrieve("east")] == ["c"]


@pytest.mark.parametrize("approximate_from", [4, 50_000])
def test_adding_and_deleting(tmp_path: Path, approximate_from: int) -> None:
    """Nodes added through LlamaIndex's interface are found, replaced by id, and deleted by paper."""
    asyncio.run(built(tmp_path, approximate_from=approximate_from))
    made = asyncio.run(ChunkStore.open(tmp_path / "store"))
    metadata = {"title": "New", "split": "train", "page_first": 3, "page_last": 3}
    for text in ("First.", "Second."):
        node = TextNode(id_="new", text=text, metadata=metadata, embedding=[-0.6, 0.8])
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id="three")
        assert made.add([node]) == ["new"]
    query = VectorStoreQuery(query_embedding=[-0.6, 0.8], similarity_top_k=1)
    [found] = made.query(query).nodes or []
    assert (found.node_id, found.get_content(), found.metadata) == ("new", "Second.", metadata)
    made.delete("three")
    made.delete("it's two")
    assert sorted(made.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=9)).ids or []) == [*"abc"]
    assert made.add([]) == []


async def test_searches_at_one_time_are_one_pass_and_find_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many searches, of several kinds, find together what each finds alone, in as many passes as there are kinds."""
    retriever = await built(tmp_path)
    asked = [(angle / 10, 1 - angle / 10) for angle in range(11)]
    alone = [await search(retriever, *at, without=without) for at in asked for without in ("", "val")]
    passes: list[int] = []
    one_pass = ChunkStore.search

    async def counted(self: ChunkStore, vectors: Sequence[Sequence[float]], **kwargs: Any) -> Any:
        passes.append(len(vectors))
        return await one_pass(self, vectors, **kwargs)

    monkeypatch.setattr(ChunkStore, "search", counted)
    together = await asyncio.gather(
        *(search(retriever, *at, without=without) for at in asked for without in ("", "val"))
    )
    assert together == alone
    assert sorted(passes) == [11, 11]


async def test_a_cancelled_search_leaves_the_retriever_usable(tmp_path: Path) -> None:
    """Who is cancelled while waiting takes nobody along who comes later."""
    retriever = await built(tmp_path)
    waiting = asyncio.ensure_future(search(retriever, 1.0, 0.0))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await search(retriever, 1.0, 0.0)
