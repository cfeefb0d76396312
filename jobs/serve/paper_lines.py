"""The table of papers: one line each, made from the shards with the paper's number, and its search, filter and order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import msgspec

from jobs.records import Paper
from jobs.serve.committed import Committed, Place
from jobs.serve.survey import Looked, Survey

__all__ = ["ORDERS", "PARSED", "WAITING", "PaperLine", "PaperLines", "PaperQuery"]

PARSED, WAITING = "parsed", "waiting"
"""What a paper is that has not failed; one that has is called by the kind of its failure."""

ORDERS = ("", "name", "pages", "chunks", "kept", "refused")
"""How the table may be ordered; "" is the order of the run. Figures go down, names up."""


class PaperLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of the table. ``state`` is "parsed", "waiting" or a kind of failure; ``refused`` counts pairs that
    curation refused, ``kept`` all others."""

    shard: int
    id: str
    name: str
    path: str
    title: str
    state: str
    reason: str
    pages: int
    chunks: int
    kept: int
    refused: int


class PaperQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: words in name, path or title; a state, or "failed" for any failure; figures at least."""

    text: str = ""
    state: str = ""
    pages: int = 0
    chunks: int = 0
    kept: int = 0
    refused: int = 0
    order: str = ""

    @property
    def plain(self) -> bool:
        """Whether every paper is asked for, in the order of the run: then seals alone say which are on a page."""
        return self == PaperQuery()

    def admits(self, line: PaperLine) -> bool:
        if self.state == "failed" and line.state in (PARSED, WAITING):
            return False
        if self.state not in ("", "failed", line.state):
            return False
        if any(getattr(line, figure) < getattr(self, figure) for figure in ("pages", "chunks", "kept", "refused")):
            return False
        return not self.text or self.text.casefold() in f"{line.path}\n{line.title}".casefold()


class PaperLines:
    """The papers of a run. All methods block, and are safe in threads."""

    def __init__(self, committed: Mapping[str, Committed]) -> None:
        self._committed = committed
        self._survey = Survey(self._read, self._stamps)

    def page(self, query: PaperQuery, first: int, count: int, seconds: float) -> tuple[list[PaperLine], int, Looked]:
        """The lines from `first` on, how many there are of the query so far, and how many shards were looked at."""
        papers = self._committed["papers"]
        if query.plain:
            total = papers.whole().rows
            places = papers.window(first, count)
            return list(self._lines(places)), total, Looked(1, 1)
        looked = self._survey.further(seconds)
        found = [line for lines in self._survey.found().values() for line in lines]
        if not msgspec.structs.replace(query, order="").plain:
            found = [line for line in found if query.admits(line)]
        if query.order == "name":
            found.sort(key=lambda line: line.name.casefold())
        elif query.order:
            found.sort(key=lambda line: -getattr(line, query.order))
        return found[first : first + count], len(found), looked

    def shard(self, index: int) -> list[PaperLine]:
        """The lines of one shard."""
        return self._survey.of(index)

    def states(self) -> dict[str, int]:
        """How many papers failed by each kind, from the seals."""
        return self._committed["chunks"].whole().failed

    def _lines(self, places: Sequence[Place]) -> Iterable[PaperLine]:
        shards = {place.shard: self._survey.of(place.shard) for place in places}
        for place in places:
            lines = shards[place.shard]
            if place.row < len(lines):
                yield lines[place.row]

    def _stamps(self, only: int | None) -> dict[int, object]:
        others = [self._committed[name] for name in ("chunks", "pairs", "curated")]
        stamps = [each.sums() for each in others]
        return {
            index: (sums.stamp, *(each[index].stamp if index in each else 0 for each in stamps))
            for index, sums in self._committed["papers"].some(only).items()
        }

    def _read(self, index: int) -> list[PaperLine]:
        seal = self._committed["chunks"].seal(index)
        failed = {each.id: each for each in seal.failures} if seal else {}
        chunks = Counter[str]()
        first: dict[str, _Chunk] = {}
        for row in self._committed["chunks"].rows(index, _Chunk):
            chunks[row.paper_id] += 1
            if not row.position:
                first[row.paper_id] = row
        pairs = Counter(pair.paper_id for pair in self._committed["pairs"].rows(index, _OfPaper))
        refused = Counter(row.paper_id for row in self._committed["curated"].rows(index, _Decision) if not row.kept)
        lines = []
        for paper in self._committed["papers"].rows(index, Paper):
            failure = failed.get(paper.id)
            chunk = first.get(paper.id)
            lines.append(
                PaperLine(
                    shard=index,
                    id=paper.id,
                    name=PurePosixPath(paper.path).name,
                    path=paper.path,
                    title=chunk.title if chunk else "",
                    state=failure.kind if failure else PARSED if seal else WAITING,
                    reason=failure.reason if failure else "",
                    pages=chunk.paper_text.pages if chunk and chunk.paper_text else 0,
                    chunks=chunks[paper.id],
                    kept=pairs[paper.id] - refused[paper.id],
                    refused=refused[paper.id],
                )
            )
        return lines


class _Pages(msgspec.Struct, gc=False):
    pages: int


class _Chunk(msgspec.Struct, gc=False):
    """What the table needs of a chunk; its text is not decoded."""

    paper_id: str
    title: str
    position: int
    paper_text: _Pages | None = None


class _OfPaper(msgspec.Struct, gc=False):
    paper_id: str


class _Decision(msgspec.Struct, gc=False):
    paper_id: str
    kept: bool
