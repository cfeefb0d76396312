"""An endpoint that costs next to nothing: one fixed answer to every request, at once, over a bare protocol.

It answers tens of thousands of requests a second, so that the CPU time of a client is its own and not that of waiting.
The answer has the words of every prompt in work.py, and OpenAI's shape; it cannot do anything else.
"""

from __future__ import annotations

import asyncio

import msgspec
from work import MODEL, SAID_IN_ALL, TOKENS

__all__ = ["main"]

_WORDS = SAID_IN_ALL.split()
_ANSWER = " ".join(_WORDS * (TOKENS // len(_WORDS)))
_COUNTERS = {"requests": {"chat": 0}, "answered": 0, "rejected": 0, "charged_tokens": 0, "most_in_flight": 0}


def _response(body: object) -> bytes:
    data = msgspec.json.encode(body)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data


_CHAT = _response(
    {
        "id": "canned",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": _ANSWER}}],
        "usage": {"prompt_tokens": 345, "completion_tokens": TOKENS, "total_tokens": 345 + TOKENS},
    }
)


class _Connection(asyncio.Protocol):
    """Requests one after the other, each with a Content-Length; a GET gets the counters."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, found, body = self._received.partition(b"\r\n\r\n")
            if not found:
                return
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(body) < length:
                return
            self._received = body[length:]
            if head.startswith(b"GET"):
                self._transport.write(_response({**_COUNTERS, "answered_twice": 0}))
            else:
                self._transport.write(_CHAT)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    asyncio.run(serve())


if __name__ == "__main__":
    main()
