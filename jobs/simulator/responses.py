"""The bytes of HTTP responses of the simulated endpoint: whole, in pieces, or spoiled."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus

__all__ = ["head", "lines", "stream", "whole"]


def head(status: int, length: int, headers: bytes, content_type: str = "application/json") -> bytes:
    """The status line and the headers of a response; `headers` are whole lines."""
    kind = f"content-type: {content_type}\r\ncontent-length: {length}\r\n".encode()
    return _status_line(status) + kind + headers + b"\r\n"


def lines(headers: Mapping[str, str]) -> bytes:
    """Headers as whole lines."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


@cache
def _status_line(status: int) -> bytes:
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Status"
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


def whole(body: bytes, headers: bytes, kind: str) -> list[bytes]:
    """Head and body; "torn" cuts the body before its length is computed, "reset" and "short" after."""
    half = len(body) // 2
    if kind == "torn":
        body = body[:half]
    return [head(200, len(body), headers), body[:half] if kind in ("reset", "short") else body]


def stream(events: tuple[bytes, ...], headers: bytes, kind: str) -> list[bytes]:
    """The events as HTTP chunks, that of the role together with the first words.

    "torn" ends well in the middle of an event, "reset" and "short" do not end.
    """
    if kind in ("torn", "reset", "short"):
        half = len(events) // 2
        events = (*events[:half], events[half][: len(events[half]) // 2])
    head = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n" + headers + b"\r\n"
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    chunks[0] = _status_line(200) + head + chunks[0]
    if kind not in ("reset", "short"):
        chunks[-1] += b"0\r\n\r\n"
    return [b"".join(chunks[:2]), *chunks[2:]]
