"""The vector store: LanceDB on disk behind LlamaIndex's vector-store interface.

Importing this module imports both libraries, which takes seconds: import it where it is used.

LlamaIndex has an integration of its own, but it calls LanceDB synchronously inside ``aquery``, which stops the event
loop, and brings 230 MB that nothing here uses. The table has the columns of that integration (``id``, ``doc_id``,
``vector``, ``text``), so other tools can open it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("LANCEDB_LOG", "error")  # read at import; by default it warns of every table that it makes

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import IvfHnswSq
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

__all__ = ["APPROXIMATE_FROM", "ChunkStore", "condition", "similarity"]

APPROXIMATE_FROM = 50_000
"""The number of vectors from which search is approximate; with fewer, every vector is compared.

Measured (benchmarks/bench_retrieval.py, 384 dimensions, 2 idle cores): one of many searches in a pass takes 0.1 ms per
thousand vectors, and 3 to 4 ms with the index, which takes 0.3 to 0.7 ms per vector to build. With two questions per
chunk, the default, the index takes 1.6 times the total time at 20,000 vectors, and 0.9 times at 50,000.
"""

_TABLE = "chunks"
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

    def __init__(self, table: Any, *, empty: bool) -> None:
        super().__init__(stores_text=True)
        self._table = table
        self._empty = empty

    @classmethod
    def class_name(cls) -> str:
        return "ChunkStore"

    @classmethod
    async def open(cls, folder: Path) -> ChunkStore:
        connection = await lancedb.connect_async(folder)
        table = await connection.open_table(_TABLE)
        return cls(table, empty=await table.count_rows() == 0)

    @classmethod
    async def build(cls, folder: Path, batches: Iterable[Sequence[tuple[Chunk, NDArray[np.float32]]]]) -> ChunkStore:
        """Write a table of all `batches`, in their order, and index it when it is large.

        Two builds from the same batches give the same answers.
        """
        connection = await lancedb.connect_async(folder)
        table = None
        for batch in _in_thread(batches):
            rows = _rows(await batch)
            if rows is None:
                break
            if table is None:
                table = await connection.create_table(_TABLE, rows, mode="overwrite")
            else:
                await table.add(rows)
        if table is None:
            table = await connection.create_table(_TABLE, schema=_schema(1), mode="overwrite")
        count = await table.count_rows()
        if count >= APPROXIMATE_FROM:
            await table.create_index("vector", config=IvfHnswSq(distance_type="cosine"))
        return cls(table, empty=count == 0)

    @property
    def client(self) -> Any:
        return self._table

    async def search(
        self, vectors: Sequence[Sequence[float]], *, top_k: int, condition: str = ""
    ) -> list[list[dict[str, Any]]]:
        """For each of `vectors` the rows of its nearest chunks, nearest first, equal ones in order of id.

        `condition` is SQL over the columns. Many vectors share one pass, with the same results as searches one by one.
        LanceDB searches in its own threads, not on the event loop.
        """
        if self._empty:  # its vectors have no length yet, and LanceDB would refuse any
            return [[] for _ in vectors]
        arrays = [np.asarray(vector, dtype=np.float32) for vector in vectors]
        asked = arrays if len(arrays) > 1 else arrays[0]
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
        (rows,) = await self.search(
            [query.query_embedding or []], top_k=query.similarity_top_k, condition=" and ".join(_conditions(query))
        )
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
            table = pa.Table.from_pylist(rows, schema=await self._table.schema())
            await self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(table)
            self._empty = False
        return [node.node_id for node in nodes]

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        return asyncio.run(self.async_add(nodes, **kwargs))

    async def adelete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """Delete all chunks of one paper."""
        await self._table.delete(f"doc_id = {_quoted(ref_doc_id)}")

    def delete(self, ref_doc_id: str, **kwargs: Any) -> None:
        asyncio.run(self.adelete(ref_doc_id, **kwargs))


def _in_thread(batches: Iterable[Any]) -> Iterator[Any]:
    """Awaitables of the next batch, read in a thread; the last one gives None."""
    source = iter(batches)
    while True:
        yield asyncio.to_thread(next, source, None)


def _schema(dimension: int) -> pa.Schema:
    text = [pa.field(name, pa.string()) for name in ("id", "doc_id", "text", "title", "split")]
    pages = [pa.field(name, pa.int32()) for name in ("page_first", "page_last")]
    return pa.schema([*text, *pages, pa.field("vector", pa.list_(pa.float32(), dimension))])


def _rows(batch: Sequence[tuple[Chunk, NDArray[np.float32]]] | None) -> pa.Table | None:
    if batch is None:
        return None
    dimension = len(batch[0][1])
    return pa.Table.from_pylist(
        [
            {
                "id": chunk.id,
                "doc_id": chunk.paper_id,
                "text": chunk.text,
                "title": chunk.title,
                "split": chunk.split,
                "page_first": chunk.page_first,
                "page_last": chunk.page_last,
                "vector": vector,
            }
            for chunk, vector in batch
        ],
        schema=_schema(dimension),
    )


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


def condition(*, paper_id: str | None, without_split: str | None) -> str:
    """A condition for `ChunkStore.search`: only chunks of one paper, none of one split; None for neither."""
    parts = [f"doc_id = {_quoted(paper_id)}"] if paper_id else []
    if without_split:
        parts.append(f"split != {_quoted(without_split)}")
    return " and ".join(parts)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
