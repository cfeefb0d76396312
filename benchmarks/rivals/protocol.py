"""The physical floor here: a bare `asyncio.Protocol` client that keeps its connections. No retries, no checks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec
from asking import Ask, main
from work import MODEL, Settings

_encode, _decode = msgspec.json.encode, msgspec.json.decode


class _Connection(asyncio.Protocol):
    """One request at a time; a response must have a Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def send(self, request: bytes) -> asyncio.Future[bytes]:
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._received = b""
            if head.startswith(b"HTTP/1.1 200"):
                self._answer.set_result(body)
            else:
                self._answer.set_exception(RuntimeError(head.partition(b"\r\n")[0].decode()))

    def close(self) -> None:
        self._transport.close()


@asynccontextmanager
async def opened(given: Settings) -> AsyncIterator[Ask]:
    url = urlsplit(f"{given.base_url}/chat/completions")
    loop, idle, every = asyncio.get_running_loop(), list[_Connection](), list[_Connection]()
    head = f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    head_bytes = head.encode()

    async def ask(prompt: str) -> str:
        if not idle:
            _, made = await loop.create_connection(_Connection, url.hostname, url.port)
            idle.append(made)
            every.append(made)
        connection = idle.pop()
        messages = [{"role": "user", "content": prompt}]
        body = _encode({"messages": messages, "model": MODEL, "temperature": 0.0, "max_tokens": given.max_tokens})
        answer = await connection.send(head_bytes % len(body) + body)
        idle.append(connection)
        text: str = _decode(answer)["choices"][0]["message"]["content"]
        return text

    yield ask
    for connection in every:
        connection.close()


if __name__ == "__main__":
    main(opened)
