"""An OpenAI-compatible endpoint over aiohttp: one request out, one reply or one of our errors back.

Foreign exceptions, statuses and bodies become ours here and nowhere else. The key is sent in a header and never put
into a message; the URL is shown without the credentials that it may carry.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp.hdrs import AUTHORIZATION, CONTENT_TYPE
from yarl import URL

from engine.errors import Fatal, Permanent, Transient
from engine.requests import Reply, Request, ServerLimits, Usage
from jobs.config import Model
from jobs.models.connection import connection
from jobs.models.connection_errors import broken, proxy_refused
from jobs.models.streams import STREAMED, FirstToken, assembled
from jobs.models.usage import usage_of

__all__ = ["Endpoint"]

_EVENTS = "text/event-stream"
_ROUTES = {"chat": "chat/completions", "embeddings": "embeddings"}
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class Endpoint:
    """One model behind one URL. Enter it to open its connections; call it with a `Request` to get a `Reply`.

    Raises `Transient` for what another attempt may mend, `Permanent` for what this record cannot get past, `Fatal` for
    a key, a model or an address that cannot be used. An address at which nobody ever answered is such a one; where
    somebody did, nobody there is an outage. ``reached`` holds the addresses that answered: the endpoints of one run
    share it. With ``stream`` chat is asked for piece by piece, and replies tell when the first token came. With
    ``cut_off`` an answer that ends at its greatest length is as good as any, as it is to who measures.
    """

    def __init__(
        self,
        role: str,
        model: Model,
        *,
        base_url: str,
        api_key: str,
        name: str,
        reached: set[URL] | None = None,
        stream: bool = False,
        cut_off: bool = False,
    ) -> None:
        self._role = role
        self._model = model
        self._name = name
        self._way = connection(role, model, base_url)
        self._url = self._way.url
        self._headers: dict[str, str] = {CONTENT_TYPE: "application/json"}
        self._key = api_key
        if api_key:
            self._headers[AUTHORIZATION] = f"Bearer {api_key}"
            self._url = self._url.with_user(None)  # one header cannot carry both
        self._urls = {route: self._url / path for route, path in _ROUTES.items()}
        self._parameters: dict[str, Any] = {"model": name}
        if model.temperature != "default":
            self._parameters["temperature"] = model.temperature
        # OpenAI's newer models refuse the old name, other servers do not know the new one.
        self._length = "max_completion_tokens" if self._url.host == "api.openai.com" else "max_tokens"
        self._stream = stream
        self._cut_off = cut_off
        self._session: aiohttp.ClientSession | None = None
        self._reached = set() if reached is None else reached

    async def __aenter__(self) -> Self:
        self._session = self._way.session(
            timeout=aiohttp.ClientTimeout(total=self._model.timeout_s, sock_connect=30),
            headers=self._headers,
            auto_decompress=True,
            middlewares=(_again_where_hung_up,) if self._stream else (),
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
        body = self._body(request)
        first_token = FirstToken() if "stream" in body else None
        try:
            async with self._session.post(
                self._urls[request.route], data=_encoder.encode(body), allow_redirects=False
            ) as response:
                self._reached.add(self._url)
                if first_token is not None and response.content_type != _EVENTS:
                    first_token = None  # some servers know no streams
                data = await _whole(response, _most_bytes(request), first_token)
        except TimeoutError as error:
            raise Transient(f"no answer within {self._model.timeout_s:g} s", kind="timeout") from error
        except aiohttp.ClientError as error:
            raise broken(error, self._way, reached=self._url in self._reached) from error
        limits = _server_limits(response.headers)
        if response.status != 200:
            raise self._refused(response.status, response.headers, data, limits)
        return self._reply(request, data, limits, first_token)

    def _body(self, request: Request) -> dict[str, Any]:
        body = {**request.body, **self._parameters}
        if request.route == "embeddings":
            body.pop("temperature", None)
            return body
        if request.max_output_tokens:
            body[self._length] = request.max_output_tokens
        if self._stream:
            body |= STREAMED
        return body

    def _reply(
        self, request: Request, data: bytes, limits: ServerLimits | None, first_token: FirstToken | None
    ) -> Reply:
        try:
            body = _decoder.decode(data) if first_token is None else assembled(data)
            usage = usage_of(body, self._model)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Transient("the answer is not JSON", kind="torn_body", server_limits=limits) from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _misshapen(Usage(requests=1)) from error
        try:
            if request.route == "embeddings":
                _check_embeddings(body, request, usage)
            elif not (self._cut_off and body["choices"][0].get("finish_reason") == "length"):
                _check_chat(body, request, usage)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise _misshapen(usage) from error
        return Reply(
            body=body, usage=usage, server_limits=limits, first_token_s=first_token.after_s if first_token else None
        )

    def _refused(
        self, status: int, headers: Mapping[str, str], data: bytes, limits: ServerLimits | None
    ) -> Transient | Permanent | Fatal:
        error = _error_of(data)
        message = f"{status}: {_one_line(error.get('message'), key=self._key)}"
        # OpenAI says it by the code; llama.cpp repeats the status there and says it by the type.
        words = [str(error.get("code")), str(error.get("type"))]
        after = _retry_after_s(headers)
        match status:
            case 401 | 403:
                return Fatal(
                    f"{self._way.shown} refuses the key of [models.{self._role}] ({status}); "
                    f"check the environment variable {self._model.api_key_env or '(none is configured)'}"
                )
            case _ if 300 <= status < 400:
                return Fatal(
                    f"{self._way.shown} sends requests elsewhere ({status}); mend base_url in [models.{self._role}]"
                )
            case 402:
                return Fatal(
                    f"the balance at {self._way.shown} is used up (402); add to it, then run the same command again"
                )
            case 407:
                return proxy_refused(status, self._way)
            case 404:
                return Fatal(
                    f"{self._way.shown} knows no model {self._name!r} (404); check model and base_url in [models.{self._role}]"
                )
            case 429 if "insufficient_quota" in words:
                return Fatal(f"the quota at {self._way.shown} is used up; add to it, then run the same command again")
            case 429:
                return Transient(message, kind="rate_limited", retry_after_s=after, server_limits=limits)
            case 503 | 529:
                return Transient(message, kind="overloaded", retry_after_s=after, server_limits=limits)
            case 408 | 409 | 425:
                return Transient(message, kind="server_error", retry_after_s=after, server_limits=limits)
            case _ if status >= 500:
                return Transient(message, kind="server_error", retry_after_s=after, server_limits=limits)
            case _:
                return Permanent(
                    message, kind=next((_REFUSALS[word] for word in words if word in _REFUSALS), "refused")
                )


_REFUSALS = {
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "context_length_exceeded": "context_too_long",
    "string_above_max_length": "context_too_long",
    "exceed_context_size_error": "context_too_long",
}


def _most_bytes(request: Request) -> int:
    """More than any honest answer takes: texts, vectors of 8,192 numbers, log-probabilities included."""
    if request.route == "embeddings":
        return (1 << 20) + (len(request.body["input"]) << 18)
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


async def _whole(
    response: aiohttp.ClientResponse, most: int, watch: Callable[[bytearray], None] | None = None
) -> bytes:
    """The body, unpacked; raises `Transient` when it is above `most` bytes, without reading the rest.

    `watch` is shown what is there, each time that more has come.
    """
    if (response.content_length or most + 1) <= most and "Content-Encoding" not in response.headers:
        return await response.read()
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > most:
            raise Transient(f"the answer is longer than {most >> 20} MiB", kind="oversized")
        if watch is not None:
            watch(data)
    return bytes(data)


def _check_chat(body: Mapping[str, Any], request: Request, usage: Usage) -> None:
    choice = body["choices"][0]
    match choice.get("finish_reason"):
        case "length" if request.max_output_tokens != 1:  # one token is asked for its probability
            raise Permanent(
                "the answer was cut off at max_tokens; raise it and use retry", kind="truncated", usage=usage
            )
        case "content_filter":
            raise Permanent("the endpoint withheld the answer (content filter)", kind="content_filter", usage=usage)
    content = choice["message"].get("content")
    if not isinstance(content, str) or not content.strip():
        raise Transient("the answer is empty", kind="empty_answer", usage=usage)


def _check_embeddings(body: Mapping[str, Any], request: Request, usage: Usage) -> None:
    sent, got = len(request.body["input"]), len(body["data"])
    if sent != got:
        raise Transient(f"{got} vectors came back for {sent} texts", kind="wrong_shape", usage=usage)
    for item in body["data"]:
        item["embedding"][0]


def _misshapen(usage: Usage) -> Transient:
    return Transient("the answer has not the shape of OpenAI's", kind="wrong_shape", usage=usage)


def _error_of(data: bytes) -> Mapping[str, Any]:
    try:
        body = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {"message": str(error or "")}


def _one_line(message: object, *, key: str) -> str:
    # A server may quote what it was sent; a key among it must not reach our logs.
    text = re.sub(r"\s+", " ", str(message or "no reason given"))
    text = text.replace(key, "***") if key else text
    return re.sub(r"\b(sk|key|Bearer)[-_ ][\w\-*.]{6,}", "***", text)[:200]


_LONGEST_WAIT_S = 3600.0
"""Whoever asks for more is asked again after this: a day of waiting for a mistake would be worse than 24 requests."""


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 1e-3), ("Retry-After", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        seconds = _number(value)
        seconds = _until(value, headers.get("Date")) if seconds is None else seconds * unit
        return None if seconds is None else min(max(0.0, seconds), _LONGEST_WAIT_S)
    return None


def _until(date: str, now: str | None) -> float | None:
    """Seconds to `date` by the server's own clock, which is told by its Date header: ours may be wrong, or jump."""
    from datetime import UTC, datetime

    try:
        told_at = parsedate_to_datetime(now) if now else datetime.now(UTC)
        return (parsedate_to_datetime(date) - told_at).total_seconds()
    except (ValueError, TypeError):
        return None


def _server_limits(headers: Mapping[str, str]) -> ServerLimits | None:
    if "x-ratelimit-limit-requests" not in headers and "x-ratelimit-limit-tokens" not in headers:
        return None
    return ServerLimits(
        limit_requests=_integer(headers.get("x-ratelimit-limit-requests")),
        remaining_requests=_integer(headers.get("x-ratelimit-remaining-requests")),
        reset_requests_s=_duration_s(headers.get("x-ratelimit-reset-requests")),
        limit_tokens=_integer(headers.get("x-ratelimit-limit-tokens")),
        remaining_tokens=_integer(headers.get("x-ratelimit-remaining-tokens")),
        reset_tokens_s=_duration_s(headers.get("x-ratelimit-reset-tokens")),
    )


def _integer(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() else None


_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _duration_s(value: str | None) -> float | None:
    """OpenAI writes "6m0s", "20ms", "1h2m3.5s"; others plain seconds."""
    if value is None:
        return None
    parts = _PART.findall(value)
    if parts:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return _number(value)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
