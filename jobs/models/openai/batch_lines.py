"""Lines of the files of batches: a request as a row, and a line of the results as a reply or an error of ours.

Both by the codec that requests by themselves use, so that a row means what the same request would mean online.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.errors import GristmillError, Permanent, Transient
from engine.requests import Reply, Request, Usage
from jobs.config import Model
from jobs.models.openai.codec import TEACHING, Codec
from jobs.models.openai.words import words_of
from jobs.models.usage import usage_of

__all__ = ["custom_id", "outcome", "row", "usage"]


class _Response(msgspec.Struct, frozen=True):
    status_code: int = 200
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Named(msgspec.Struct, frozen=True):
    custom_id: str = ""


class _Line(msgspec.Struct, frozen=True):
    response: _Response | None = None
    error: Any = None


_encoder = msgspec.json.Encoder()
_named_decoder = msgspec.json.Decoder(_Named)
_line_decoder = msgspec.json.Decoder(_Line)


def row(name: str, url: str, body: dict[str, Any]) -> bytes:
    """The line of a file of requests that asks for `body` at `url`, with its line feed."""
    return _encoder.encode({"custom_id": name, "method": "POST", "url": url, "body": body}) + b"\n"


def custom_id(line: bytes) -> str:
    """Whose line of results it is; "" where it cannot be read."""
    try:
        return _named_decoder.decode(line).custom_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def usage(line: bytes, model: Model) -> Usage:
    """What the row of this line was billed for, at the batch price of `model`; no request where it was not answered."""
    try:
        status, body, _ = _response(line)
    except Transient:
        return Usage()
    return usage_of(body, model, batch=True) if status == 200 else Usage()


def outcome(line: bytes, request: Request, codec: Codec) -> Reply | GristmillError:
    """What the line answers to `request`, read as the response to one that was sent by itself.

    The kind is "batch_expired" or "batch_cancelled" where it never ran, and "taught" where its refusal named a parameter,
    which the next row of the same request has otherwise.
    """
    try:
        status, body, data = _response(line)
        if status == 200:
            return _reply(body, data, request, codec)
        if status in TEACHING and codec.learn(request, data):
            return Transient("the server wants to be asked otherwise", kind="taught")
        return codec.refused(status, {}, data).replying(codec.kept(data))
    except GristmillError as error:
        return error


def _reply(body: Any, data: bytes, request: Request, codec: Codec) -> Reply:
    try:
        return codec.reply(request, body, batch=True)
    except (Transient, Permanent) as error:
        raise error.replying(codec.kept(data)) from error.__cause__


def _response(line: bytes) -> tuple[int, Any, bytes]:
    """Status, decoded body and its bytes; some servers write the body as text that holds JSON. Raises `Transient`."""
    try:
        found = _line_decoder.decode(line)
        if found.response is None:
            raise _never_ran(found.error)
        data = bytes(found.response.body)
        body = msgspec.json.decode(data)
        if isinstance(body, str) and body[:1] in ("{", "["):
            data = body.encode()
            body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Transient("a line of the results has not the shape of OpenAI's", kind="wrong_shape") from error
    return found.response.status_code, body, data


def _never_ran(error: Any) -> Transient:
    """A row without a response: the batch ended before it, or the server says no more of it."""
    words = words_of(error)
    kind = next((code for code in ("batch_expired", "batch_cancelled") if words.has(code)), "server_error")
    return Transient(words.message or "the row has no response", kind=kind)
