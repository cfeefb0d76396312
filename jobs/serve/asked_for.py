"""What a request asks for in its address: numbers with bounds, names from a list, the number of a page, a shard's row."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from jobs.serve.survey import Looked

__all__ = ["PER_PAGE", "SECONDS", "Paging", "chosen", "number", "paging", "shard_of", "words"]

Q = TypeVar("Q", bound=msgspec.Struct)

PER_PAGE = 50
SECONDS = 0.7
"""How long one request looks at further shards."""

_LONGEST = 200


class Paging(msgspec.Struct, frozen=True, kw_only=True):
    """Where a table's page stands among `total` lines; `others` is the address of another page without its number."""

    page: int
    total: int
    looked: Looked
    others: str

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PER_PAGE))

    @property
    def first(self) -> int:
        return (self.page - 1) * PER_PAGE

    def address(self, page: int) -> str:
        return f"{self.others}page={page}"


def words(request: web.Request, name: str) -> str:
    return request.query.get(name, "").strip()[:_LONGEST]


def chosen(request: web.Request, name: str, among: Collection[str]) -> str:
    """One of `among`, "" for anything else."""
    given = request.query.get(name, "")
    return given if given in among else ""


def number(request: web.Request, name: str, most: int = 10**9) -> int:
    """A whole number from 0 to `most`, 0 for anything else."""
    given = request.query.get(name, "")
    return min(most, int(given)) if given.isascii() and given.isdecimal() and len(given) < 10 else 0


def paging(request: web.Request, query: msgspec.Struct, total: int, looked: Looked) -> Paging:
    """The page that `request` asks for, of the lines of `query`."""
    given = {key: value for key, value in msgspec.structs.asdict(query).items() if value}
    others = f"{request.path}?{urlencode(given)}&" if given else f"{request.path}?"
    return Paging(page=max(1, number(request, "page")), total=total, looked=looked, others=others)


def shard_of(request: web.Request) -> int:
    """The number of a shard in the address; the routes let only digits come here."""
    return int(request.match_info["shard"])
