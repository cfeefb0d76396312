"""OpenAI's own client, for what it alone does: files, batches and fine-tuning. It goes the way of all other requests.

Its retries are off: an attempt that may have had an effect is counted by its caller, and nowhere else.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from engine.errors import Fatal
from jobs.run.background_imports import imported

if TYPE_CHECKING:
    import httpx2
    import openai

    from jobs.config import Model
    from jobs.models.connection import Connection

__all__ = ["official_client", "untrusted_way"]


@contextlib.asynccontextmanager
async def official_client(
    way: Connection, model: Model, api_key: str, *, timeout_s: float, base_url: str = ""
) -> AsyncIterator[openai.AsyncOpenAI]:
    """A client for the end of `way`, with the key, the headers and the query of `model`; `timeout_s` is between two bytes.

    `base_url` stands for the address of the way, where files and batches have another.
    """
    openai: Any = await imported("openai")
    # An empty key would make the client look for one in the environment, and send it to this endpoint.
    async with openai.AsyncOpenAI(
        base_url=base_url or str(way.url),
        api_key=api_key or "none",
        max_retries=0,
        timeout=timeout_s,
        default_headers=model.headers(api_key),
        default_query=model.extra_query,
        http_client=_http_client(way, model),
    ) as client:
        yield client


def untrusted_way(error: BaseException, way: Connection) -> Fatal | None:
    """Our error where a certificate that cannot be used stands behind `error`; the client buries it deeply."""
    from jobs.models.connection_errors import untrusted

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return untrusted(seen, way)
        seen = seen.__cause__ or seen.__context__
    return None


def _http_client(way: Connection, model: Model) -> httpx2.AsyncClient:
    """The client's own HTTP client, whose connections go the way that all others of the run go."""
    import httpx2
    import openai

    transport = httpx2.AsyncHTTPTransport(uds=way.socket) if way.socket else None
    proxy = None
    if way.proxy is not None:
        proxy = httpx2.Proxy(str(way.proxy.url), ssl_context=way.tls if way.proxy.url.scheme == "https" else None)
    usual = model.key_header.casefold() == "authorization"
    return openai.DefaultAsyncHttpxClient(
        event_hooks={"request": [] if usual else [_without_authorization]},
        follow_redirects=usual,  # only the usual header is taken off where a redirect leads elsewhere
        transport=transport,
        proxy=proxy,
        verify=True if way.tls is None else way.tls,
        trust_env=False,
    )


async def _without_authorization(request: httpx2.Request) -> None:
    """The key goes in another header; the client always writes this one too."""
    request.headers.pop("Authorization", None)
