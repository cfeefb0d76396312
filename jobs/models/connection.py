"""How a server is reached: directly, through a proxy or a Unix socket, and with which certificates.

Everything about opening a connection to a model's address stands here and in the modules beside it: `proxies` reads the
environment, `certificates` the files, and `connection_errors` says what a failure means.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from engine.errors import BadInput
from jobs.config import Model
from jobs.models.certificates import tls_context
from jobs.models.proxies import Proxy, proxy_for

__all__ = ["Connection", "connection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The way to one address.

    ``url`` is what requests are sent to, ``shown`` what may be shown of it, without credentials. ``socket`` is the path
    of a Unix socket, "" for TCP. ``tls`` is None where neither the server nor the proxy speaks TLS.
    """

    role: str
    url: URL
    shown: str
    socket: str = ""
    proxy: Proxy | None = None
    tls: ssl.SSLContext | None = None
    client_cert: str = ""

    @property
    def host(self) -> str:
        return self.url.host or ""

    def session(
        self,
        *,
        headers: Mapping[str, str],
        middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
        **settings: Any,
    ) -> aiohttp.ClientSession:
        """A session that sends `headers` this way; `settings` are aiohttp's. To be made in a running loop, and closed."""
        if self.proxy is None:
            return aiohttp.ClientSession(
                connector=self._connector(), headers=headers, middlewares=middlewares, **settings
            )
        # aiohttp sends a session's own headers to the proxy too, and the key is not for that.
        added = _adding(headers)
        return aiohttp.ClientSession(
            connector=self._connector(), proxy=self.proxy.url, middlewares=(added, *middlewares), **settings
        )

    def _connector(self) -> aiohttp.BaseConnector:
        if self.socket:
            return aiohttp.UnixConnector(self.socket, limit=0, keepalive_timeout=60)
        return aiohttp.TCPConnector(
            limit=0, keepalive_timeout=60, ssl=self.tls if self.tls is not None else True, resolver=_Resolver()
        )

    async def speaks_tls(self) -> bool:
        """Whether the server answers a TLS handshake; False where that cannot be tried, and after a second."""
        if self.socket or self.proxy:
            return False
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        try:
            async with asyncio.timeout(1):
                _, writer = await asyncio.open_connection(self.host, self.url.port, ssl=anybody)
                writer.transport.abort()
                return True
        except (OSError, TimeoutError):
            return False

    async def speaks_plainly(self) -> bool:
        """Whether the server at an https:// address answers without TLS; it may wait for a handshake for ever."""
        if self.url.scheme != "https" or self.socket or self.proxy or await self.speaks_tls():
            return False
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection(self.host, self.url.port)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                answer = await reader.read(1024)
                writer.transport.abort()
        except (OSError, TimeoutError):
            return False
        return answer.startswith(b"HTTP/") and b"HTTPS" not in answer


def _adding(headers: Mapping[str, str]) -> aiohttp.ClientMiddlewareType:
    async def added(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        request.headers.update(headers)
        return await send(request)

    return added


def connection(
    role: str, model: Model, base_url: str | None = None, *, environment: Mapping[str, str] = os.environ
) -> Connection:
    """The way to `base_url`, which is the model's own unless another is given, by its settings and the `environment`.

    A model of ours, which serves on this machine, is reached directly. Raises `BadInput` for an address, a proxy or a
    file that cannot be used.
    """
    url, path = _address(model.base_url if base_url is None else base_url, role)
    proxy = None if path or model.local else proxy_for(url, environment)
    secure = "https" in (url.scheme, proxy.url.scheme if proxy else "")
    shown = f"unix://{path}" if path else str(url.with_user(None).with_query(None))
    return Connection(
        role=role,
        url=url,
        shown=shown,
        socket=path,
        proxy=proxy,
        tls=_tls(role, model, environment) if secure else None,
        client_cert=model.client_cert,
    )


def _tls(role: str, model: Model, environment: Mapping[str, str]) -> ssl.SSLContext:
    return tls_context(
        role,
        ca_file=model.ca_file,
        client_cert=model.client_cert,
        client_key=model.client_key,
        environment=environment,
    )


def _address(base_url: str, role: str) -> tuple[URL, str]:
    """The URL of `base_url`, and the path of its Unix socket or "".

    ``unix:///run/server.sock`` stands for the path /v1 of the server behind that socket; another path follows a colon,
    as in ``unix:///run/server.sock:/api/v1``.
    """
    if base_url.startswith("unix://"):
        path, _, rest = base_url.removeprefix("unix://").partition(":")
        if not path.startswith("/") or len(os.fsencode(path)) > _LONGEST_SOCKET:
            raise BadInput(
                f"[models.{role}] base_url must name a Unix socket as unix:///PATH/TO/SOCKET, its path of at most "
                f"{_LONGEST_SOCKET} bytes"
            )
        return URL("http://localhost") / (rest.strip("/") or "v1"), path
    try:
        url = URL(base_url)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise BadInput(
            f"[models.{role}] base_url must begin with http:// or https:// and name a host, or with unix:///"
        )
    return url, ""


_LONGEST_SOCKET = 103
"""Bytes of a socket's path: what every system allows."""


class _Resolver(AbstractResolver):
    """The system's names, but that localhost is always both loopback addresses: a server may listen at one alone."""

    def __init__(self) -> None:
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if host.lower().rstrip(".") != "localhost":
            return await self._system.resolve(host, port, family)
        return [_loopback(address, host, port) for address in _loopbacks()]

    async def close(self) -> None:
        await self._system.close()


@cache
def _loopbacks() -> tuple[str, ...]:
    """IPv4 first, which most servers listen at; the other is tried a quarter of a second later, or at a refusal."""
    return ("127.0.0.1", "::1") if socket.has_ipv6 else ("127.0.0.1",)


def _loopback(address: str, host: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=family,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
