"""The vector store: LanceDB on disk behind LlamaIndex's vector-store interface.

Importing this module imports both libraries, which takes seconds: import it where it is used.

LlamaIndex has an integration of its own, but it calls LanceDB synchronously inside ``aquery``, which stops the event
loop, and brings 230 MB that nothing here uses. The table has the columns of that integration (``id``, ``doc_id``,
``vector``, ``text``), so other tools can open it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("LANCEDB_LOG", "error")  # read at import; by default it warns of every table that it makes

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import BTree
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterOperator,
    MetadataFilter,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from numpy.typing import NDArray

from jobs.records import Chunk
from jobs.retrieval.inverted_file import Found, InvertedFile, unit

__all__ = ["ChunkStore", "similarity"]

_TABLE = "chunks"
_INVERTED = "inverted"
_ADDED = 8_192  # rows that are added to the table at a time: each time makes a version of it
_METADATA = ["title", "split", "page_first", "page_last"]
_COLUMNS = ["id", "text", *_METADATA]
_OPERATORS = {FilterOperator.EQ: "=", FilterOperator.NE: "!="}


class ChunkStore(BasePydanticVectorStore):
    """Chunks with their vectors in the LanceDB table of `folder`. Similarity is the cosine.

    Open one with `ChunkStore.open`, make one with `ChunkStore.build`.
    """

    stores_text: bool = True
    flat_metadata: bool = True
    _table: Any = PrivateAttr()
    _empty: bool = PrivateAttr()
    _folder: Path = PrivateAttr()
    _inverted: InvertedFile | None = PrivateAttr()
    _splits: dict[str, int] = PrivateAttr()

    def __init__(self, table: Any, folder: Path, *, empty: bool) -> None:
        super().__init__(stores_text=True)
        self._table = table
        self._empty = empty
        self._folder = folder / _INVERTED
        path = self._folder / "splits.json"
        self._splits = json.loads(path.read_bytes()) if path.exists() else {}
        self._inverted = InvertedFile(self._folder) if self._splits else None

    @classmethod
    def class_name(cls) -> str:
        return "ChunkStore"

    @classmethod
    async def open(cls, folder: Path) -> ChunkStore:
        connection = await lancedb.connect_async(folder)
        table = await connection.open_table(_TABLE)
        return await asyncio.to_thread(cls, table, folder, empty=await table.count_rows() == 0)

    @classmethod
    async def build(
        cls, folder: Path, batches: Iterable[Sequence[tuple[Chunk, NDArray[np.float32]]]], *, approximate_from: int
    ) -> ChunkStore:
        """Write a table of all `batches`, in their order; from `approximate_from` vectors on with an index.

        Two builds from the same batches give the same answers.
        """
        connection = await lancedb.connect_async(folder)
        table, beside = None, _Beside(folder / _INVERTED)
        for batch in _in_thread(_gathered(batches)):
            rows = _rows(found := await batch, beside.count)
            if rows is None:
                break
            await asyncio.to_thread(beside.add, found)
            if table is None:
                table = await connection.create_table(_TABLE, rows, mode="overwrite")
            else:
                await table.add(rows)
        if table is None:
            table = await connection.create_table(_TABLE, schema=_schema(1), mode="overwrite")
        if 0 < beside.count >= approximate_from:
            await asyncio.to_thread(beside.finish)
            for column in ("id", "doc_id"):
                await table.create_index(column, config=BTree())
        else:
            await asyncio.to_thread(beside.remove)
        return await asyncio.to_thread(cls, table, folder, empty=beside.count == 0)

    @property
    def client(self) -> Any:
        return self._table

    async def search(
        self,
        vectors: Sequence[Sequence[float]],
        *,
        top_k: int,
        paper_id: str | None = None,
        without_split: str | None = None,
    ) -> list[list[dict[str, Any]]]:
        """For each of `vectors` the rows of its nearest chunks, nearest first, equal ones in order of id.

        With `paper_id` only chunks of that paper are searched, with `without_split` none of that split. Many vectors
        share one pass, with the same results as searches one by one. Nothing of it runs on the event loop.
        """
        if self._inverted is None or paper_id:
            condition = _condition(paper_id=paper_id, without_split=without_split)
            return await self._scanned(vectors, top_k=top_k, condition=condition)
        without = self._splits.get(without_split) if without_split else None
        found = await asyncio.to_thread(self._inverted.search, vectors, top_k=top_k, without=without)
        return await self._rows_of(found)

    async def _rows_of(self, found: Sequence[Sequence[Found]]) -> list[list[dict[str, Any]]]:
        numbers = sorted({each.row for one in found for each in one})
        taken = self._table.take_offsets(numbers).select(["row", *_COLUMNS])
        rows = {row.pop("row"): row for row in await taken.to_list()} if numbers else {}
        return [
            sorted(
                ({**rows[each.row], "_distance": 1.0 - each.cosine} for each in one),
                key=lambda row: (round(row["_distance"], 6), row["id"]),
            )
            for one in found
        ]

    async def _scanned(
        self, vectors: Sequence[Sequence[float]], *, top_k: int, condition: str
    ) -> list[list[dict[str, Any]]]:
        """The same by LanceDB, which compares every vector, in its own threads; `condition` is SQL over the columns."""
        if self._empty:  # its vectors have no length yet, and LanceDB would refuse any
            return [[] for _ in vectors]
        arrays = [np.asarray(vector, dtype=np.float32) for vector in vectors]
        asked = arrays if len(arrays) > 1 else arrays[0]
        # A store of an earlier release may have LanceDB's own index, whose answers are refined.
        search = self._table.query().nearest_to(asked).distance_type("cosine").refine_factor(4)
        if condition:
            search = search.where(condition)
        found: list[list[dict[str, Any]]] = [[] for _ in vectors]
        for row in await search.select([*_COLUMNS, "_distance"]).limit(top_k).to_list():
            found[row.get("query_index", 0)].append(row)
        for rows in found:
            rows.sort(key=lambda row: (round(row["_distance"], 6), row["id"]))
        return found

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nearest chunks, nearest first, equal ones in order of id."""
        at, top_k, condition = [query.query_embedding or []], query.similarity_top_k, " and ".join(_conditions(query))
        search = self._scanned(at, top_k=top_k, condition=condition) if condition else self.search(at, top_k=top_k)
        (rows,) = await search
        return VectorStoreQueryResult(
            nodes=[_node(row) for row in rows],
            similarities=[similarity(row) for row in rows],
            ids=[row["id"] for row in rows],
        )

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        return asyncio.run(self.aquery(query, **kwargs))

    async def aget_nodes(self, node_ids: list[str] | None = None, filters: Any = None) -> list[BaseNode]:
        """The chunks of these ids, in no particular order."""
        wanted = ", ".join(_quoted(id_) for id_ in node_ids or [])
        rows = await self._table.query().where(f"id in ({wanted})").to_list() if wanted else []
        return [_node(row) for row in rows]

    async def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors of these chunks, by id."""
        wanted = ", ".join(map(_quoted, ids))
        rows = await self._table.query().where(f"id in ({wanted})").select(["id", "vector"]).to_list() if ids else []
        return {row["id"]: np.asarray(row["vector"], dtype=np.float32) for row in rows}

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes that carry embeddings; a node whose id is there already is replaced."""
        rows = [
            {
                "id": node.node_id,
                "doc_id": node.ref_doc_id or "",
                "vector": node.get_embedding(),
                "text": node.get_content(metadata_mode=MetadataMode.NONE),
                **{name: node.metadata.get(name) for name in _METADATA},
            }
            for node in nodes
        ]
        if rows:
            await self._change()
            table = pa.Table.from_pylist(rows, schema=await self._table.schema())
            await self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(table)
            self._empty = False
        return [node.node_id for node in nodes]

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        return asyncio.run(self.async_add(nodes, **kwargs))

    async def adelete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """Delete all chunks of one paper."""
        await self._change()
        await self._table.delete(f"doc_id = {_quoted(ref_doc_id)}")

    def delete(self, ref_doc_id: str, **kwargs: Any) -> None:
        asyncio.run(self.adelete(ref_doc_id, **kwargs))

    async def _change(self) -> None:
        """Before the table changes: the index, which knows chunks by their place in it, is given up."""
        self._inverted, self._splits = None, {}
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


class _Beside:
    """The vectors of a table on their way into an index beside it, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self._folder = folder
        self._raw = folder.with_name("raw.f32")
        self._dimension = 1
        self._splits: dict[str, int] = {}
        self._marks: list[NDArray[np.uint8]] = []

    def add(self, batch: Sequence[tuple[Chunk, NDArray[np.float32]]]) -> None:
        self.count += len(batch)
        self._dimension = len(batch[0][1])
        marks = [self._splits.setdefault(chunk.split, len(self._splits)) for chunk, _ in batch]
        self._marks.append(np.array(marks, dtype=np.uint8))
        with self._raw.open("ab") as file:
            file.write(unit(np.stack([vector for _, vector in batch])).astype("<f4").data)

    def finish(self) -> None:
        """Build the index; the splits are written last, and say that it is whole."""
        vectors = np.memmap(self._raw, dtype="<f4", mode="r").reshape(-1, self._dimension)
        InvertedFile.build(self._folder, vectors, np.concatenate(self._marks))
        (self._folder / "splits.json").write_text(json.dumps(self._splits))
        self.remove()

    def remove(self) -> None:
        """Delete what was gathered."""
        self._raw.unlink(missing_ok=True)


def _gathered(batches: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    """The same rows in batches of about `_ADDED`."""
    gathered: list[Any] = []
    for batch in batches:
        gathered += batch
        if len(gathered) >= _ADDED:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def _in_thread(batches: Iterable[Any]) -> Iterator[Any]:
    """Awaitables of the next batch, read in a thread; the last one gives None."""
    source = iter(batches)
    while True:
        yield asyncio.to_thread(next, source, None)


def _schema(dimension: int) -> pa.Schema:
    text = [pa.field(name, pa.string()) for name in ("id", "doc_id", "text", "title", "split")]
    numbers = [pa.field(name, pa.int32()) for name in ("page_first", "page_last")]
    vector = pa.field("vector", pa.list_(pa.float32(), dimension))
    return pa.schema([*text, *numbers, pa.field("row", pa.int64()), vector])


def _rows(batch: Sequence[tuple[Chunk, NDArray[np.float32]]] | None, first: int) -> pa.Table | None:
    """The batch as rows of the table, numbered from `first`."""
    if batch is None:
        return None
    chunks, vectors = [chunk for chunk, _ in batch], np.concatenate([vector for _, vector in batch])
    dimension = len(batch[0][1])
    columns = {
        "id": [chunk.id for chunk in chunks],
        "doc_id": [chunk.paper_id for chunk in chunks],
        "text": [chunk.text for chunk in chunks],
        **{name: [getattr(chunk, name) for chunk in chunks] for name in _METADATA},
        "row": range(first, first + len(chunks)),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors, pa.float32()), dimension),
    }
    return pa.Table.from_pydict(columns, schema=_schema(dimension))


def _node(row: dict[str, Any]) -> TextNode:
    return TextNode(id_=row["id"], text=row["text"], metadata={name: row[name] for name in _METADATA})


def _conditions(query: VectorStoreQuery) -> Iterator[str]:
    if query.doc_ids:
        yield f"doc_id in ({', '.join(map(_quoted, query.doc_ids))})"
    for term in query.filters.filters if query.filters else []:
        if not isinstance(term, MetadataFilter) or term.operator not in _OPERATORS or term.key not in _METADATA:
            raise ValueError(f"this store filters by {', '.join(_METADATA)}, with == and !=")
        value = str(term.value) if isinstance(term.value, int) else _quoted(str(term.value))
        yield f"{term.key} {_OPERATORS[term.operator]} {value}"


def similarity(row: Mapping[str, Any]) -> float:
    """The cosine of a found row."""
    return float(round(1.0 - row["_distance"], 6))


def _condition(*, paper_id: str | None, without_split: str | None) -> str:
    """A condition in SQL: only chunks of one paper, none of one split; None for neither."""
    parts = [f"doc_id = {_quoted(paper_id)}"] if paper_id else []
    if without_split:
        parts.append(f"split != {_quoted(without_split)}")
    return " and ".join(parts)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
