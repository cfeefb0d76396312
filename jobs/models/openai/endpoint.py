"""An OpenAI-compatible endpoint over aiohttp: one request out, one reply or one of our errors back.

The key is sent in a header and never put into a message; the URL is shown without the credentials that it may carry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp.hdrs import CONTENT_TYPE

from engine.batches.service import BatchService
from engine.errors import GristmillError, Permanent, Transient
from engine.requests import Reply, Request, ServerLimits, Usage
from jobs.models.connection import connection
from jobs.models.connection_errors import broken, wants_no_tls, wants_tls
from jobs.models.openai.codec import TEACHING, codec_of
from jobs.models.openai.headers import server_limits
from jobs.models.openai.listing import found_at
from jobs.models.openai.streams import FirstToken, assembled
from jobs.models.providers import Target

__all__ = ["Endpoint"]

_EVENTS = "text/event-stream"
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class Endpoint:
    """One model behind one URL. Enter it to open its connections; call it with a `Request` to get a `Reply`.

    Raises `Transient` for what another attempt may get past, `Permanent` for what this record cannot get past, `Fatal` for
    a key, a model or an address that cannot be used. An address that never answered is `Fatal`; one that has answered
    before is an outage, and `Transient`.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        model, key = target.model, target.api_key
        self._way = connection(target.role, model, target.base_url)
        url = self._way.url
        self._headers = {CONTENT_TYPE: "application/json", **model.headers(key)}
        if key:
            url = url.with_user(None)  # one header cannot carry both
        query = {**url.query, **model.extra_query}
        self._url = url.with_query(None)
        self._chat_url = (self._url / "chat/completions").with_query(query)
        self._embeddings_url = (self._url / "embeddings").with_query(query)
        self.codec = codec_of(target, self._way)
        self._session: aiohttp.ClientSession | None = None
        self._tried = self._is_reached = False

    @staticmethod
    def batches(target: Target) -> AbstractAsyncContextManager[BatchService]:
        """The batches of `target`, where it is asked in batches."""
        from jobs.models.openai.batches import batches_at

        return batches_at(target)

    async def __aenter__(self) -> Self:
        self._session = self._way.session(
            timeout=aiohttp.ClientTimeout(total=self._target.model.timeout_s, sock_connect=30),
            headers=self._headers,
            auto_decompress=True,
            middlewares=(_again_where_hung_up,) if self._target.stream else (),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def __call__(self, request: Request) -> Reply:
        if self._session is None:
            raise RuntimeError("enter the endpoint before calling it")
        if not self._tried:
            self._tried = True
            await self._try_plainly()
        most = self.codec.dialect.most_texts
        if most is not None and len(request.texts) > most:
            return await self._in_parts(request, most)
        version = self.codec.dialect.version
        status, headers, data, first_token = await self._send(request)
        if status in TEACHING and self.codec.learn(request, data, version):
            return await self(request)  # the refusal has named what the server wants otherwise
        limits = server_limits(headers)
        try:
            if status != 200:
                raise await self._refused(status, headers, data, limits)
            return self._reply(request, data, limits, first_token)
        except (Transient, Permanent) as error:
            raise error.replying(self.codec.kept(data)) from error.__cause__

    async def _send(self, request: Request) -> tuple[int, Mapping[str, str], bytes, FirstToken | None]:
        assert self._session is not None
        url = self._embeddings_url if request.texts else self._chat_url
        first_token = FirstToken() if self._target.stream and not request.texts else None
        sent = _encoder.encode(self.codec.body(request))
        try:
            async with self._session.post(url, data=sent, allow_redirects=False) as response:
                if not self._is_reached:
                    self._is_reached = True
                    self._target.reached.add(self._url)
                if first_token is not None and response.content_type != _EVENTS:
                    first_token = None  # some servers know no streams
                most = _most_bytes(request)
                if (response.content_length or most + 1) <= most and "Content-Encoding" not in response.headers:
                    data = await response.read()
                else:
                    data = await _bounded(response, most, first_token)
                return response.status, response.headers, data, first_token
        except TimeoutError as error:
            raise Transient(f"no answer within {self._target.model.timeout_s:g} s", kind="timeout") from error
        except aiohttp.ClientError as error:
            raise await self._broken(error) from error

    async def _try_plainly(self) -> None:
        """Where nobody has answered yet: a server without TLS may wait for ever for the rest of a handshake."""
        if self._url not in self._target.reached and await self._way.speaks_plainly():
            raise wants_no_tls(self._way)

    async def _refused(
        self, status: int, headers: Mapping[str, str], data: bytes, limits: ServerLimits | None
    ) -> GristmillError:
        """Our error; of a 404 at first the server's list of models says more."""
        assert self._session is not None
        if status == 404 and not self.codec.answers:
            hint = self.codec.hint(await found_at(self._session, self._url))
            if hint is not None:
                return hint
        return self.codec.refused(status, headers, data, limits)

    async def _broken(self, error: aiohttp.ClientError) -> GristmillError:
        """Our error; where nobody has answered yet and hangs up, it is asked whether the server speaks TLS."""
        reached = self._url in self._target.reached
        found = broken(error, self._way, reached=reached)
        if (
            not reached
            and isinstance(found, Transient)
            and found.kind == "reset"
            and self._url.scheme == "http"
            and await self._way.speaks_tls()
        ):
            return wants_tls(self._way)
        return found

    def _reply(
        self, request: Request, data: bytes, limits: ServerLimits | None, first_token: FirstToken | None
    ) -> Reply:
        try:
            body: Any = _decoder.decode(data) if first_token is None else assembled(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Transient("the answer is not JSON", kind="torn_body", server_limits=limits) from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Transient("the stream has not the shape of OpenAI's", kind="wrong_shape") from error
        reply = self.codec.reply(request, body, limits)
        return msgspec.structs.replace(reply, first_token_s=first_token.after_s) if first_token else reply

    async def _in_parts(self, request: Request, most: int) -> Reply:
        """The vectors of a request that holds more texts than the server takes, from several requests."""
        texts, parts, usage = request.texts, list[Reply](), Usage()
        for at in range(0, len(texts), most):
            try:
                parts.append(await self(msgspec.structs.replace(request, texts=texts[at : at + most])))
            except GristmillError as error:
                raise error.costing(usage + error.usage) from error.__cause__
            usage += parts[-1].usage
        vectors = [vector for part in parts for vector in part.vectors]
        return Reply(vectors=vectors, usage=usage, server_limits=parts[-1].server_limits)


def _most_bytes(request: Request) -> int:
    """More than any honest answer takes: texts, vectors of 8,192 numbers, log-probabilities included."""
    if request.texts:
        return (1 << 20) + (len(request.texts) << 18)
    return (1 << 20) + (request.max_output_tokens << 10)


async def _again_where_hung_up(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send once more what met a connection that was ended before a byte came back.

    Some servers, llama.cpp's among them, end one after each stream without saying so, and only the next request on it
    finds out. aiohttp does this by itself for methods that may be repeated.
    """
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        return await send(request)


async def _bounded(
    response: aiohttp.ClientResponse, most: int, watch: Callable[[bytearray], None] | None = None
) -> bytes:
    """The body, unpacked; raises `Transient` when it is above `most` bytes, without reading the rest.

    `watch` is shown what is there, each time that more has come.
    """
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > most:
            raise Transient(f"the answer is longer than {most >> 20} MiB", kind="oversized")
        if watch is not None:
            watch(data)
    return bytes(data)
