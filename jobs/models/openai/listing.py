"""The list of a server's models: it tells a mistyped model, and an address that lacks its /v1, from a server that is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from yarl import URL

__all__ = ["Listing", "found_at"]

_SECONDS = 5.0
_MOST_BYTES = 1 << 20
_decoder = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The names of the models, none where there is no list; ``below_v1`` says that it is found one step further down."""

    models: Sequence[str] = ()
    below_v1: bool = False


async def found_at(session: aiohttp.ClientSession, url: URL) -> Listing:
    """The models that the server at `url` lists, there or below /v1. Whatever fails, there is no list."""
    models = await _names(session, url / "models")
    if models or url.path.rstrip("/").endswith("/v1"):
        return Listing(models=models)
    models = await _names(session, url / "v1" / "models")
    return Listing(models=models, below_v1=bool(models))


async def _names(session: aiohttp.ClientSession, url: URL) -> Sequence[str]:
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with session.get(url, allow_redirects=False, timeout=timeout) as response:
            if response.status != 200:
                return ()
            data = bytearray()
            async for piece in response.content.iter_any():
                data += piece
                if len(data) > _MOST_BYTES:
                    return ()
            body: Any = _decoder.decode(data)
            return [str(model["id"]) for model in body["data"]]
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, KeyError, TypeError, ValueError):
        return ()
