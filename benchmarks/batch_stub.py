"""A Batch API that costs next to nothing: it keeps of each uploaded row its custom id, and answers all of them alike.

With ``--never`` no batch ever ends, and nothing is kept. What it has counted is at /counters.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Callable

import msgspec
from work import MODEL, SAID_IN_ALL, TOKENS

__all__ = ["main"]

_WORDS = SAID_IN_ALL.split()
_ANSWER = " ".join(_WORDS * (TOKENS // len(_WORDS)))
_BODY = msgspec.json.encode(
    {
        "id": "canned",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": _ANSWER}}],
        "usage": {"prompt_tokens": 345, "completion_tokens": TOKENS, "total_tokens": 345 + TOKENS},
    }
)
_LINE = (
    b'{"id":"r","custom_id":"%b","response":{"status_code":200,"request_id":"q","body":' + _BODY + b'},"error":null}\n'
)
_CUSTOM_ID = re.compile(rb'"custom_id":"([^"]+)"')


class _Stub:
    """Files by their custom ids, and batches by their files."""

    def __init__(self, *, never: bool) -> None:
        self._never = never
        self._files: dict[str, list[bytes]] = {}
        self._batches: dict[str, str] = {}
        self.counted = {"rows": 0, "files": 0, "batches": 0, "looks": 0, "chat": 0}

    def answer(self, method: bytes, path: bytes, body: bytes) -> bytes:
        match [method, *path.split(b"?")[0].removeprefix(b"/v1/").split(b"/")]:
            case [b"GET", *_] if path == b"/counters":
                return msgspec.json.encode(self.counted)
            case [b"POST", b"chat", *_]:
                self.counted["chat"] += 1
                return _BODY
            case [b"POST", b"files"]:
                return self._upload(body)
            case [b"GET", b"files", name, b"content"]:
                return b"".join(_LINE % each for each in self._files[name.decode().removeprefix("out-")])
            case [b"POST", b"batches"]:
                return self._create(msgspec.json.decode(body)["input_file_id"])
            case [b"GET", b"batches"]:
                return msgspec.json.encode({"data": [self._shown(name) for name in reversed(self._batches)]})
            case [_, b"batches", name, *_]:
                self.counted["looks"] += 1
                return msgspec.json.encode(self._shown(name.decode()))
        return b"{}"

    def _upload(self, body: bytes) -> bytes:
        name = f"file-{self.counted['files']}"
        self.counted["files"] += 1
        rows = _CUSTOM_ID.findall(body)
        self.counted["rows"] += len(rows)
        self._files[name] = [] if self._never else rows
        return msgspec.json.encode({"id": name, "object": "file"})

    def _create(self, file: str) -> bytes:
        name = f"batch-{self.counted['batches']}"
        self.counted["batches"] += 1
        self._batches[name] = file
        return msgspec.json.encode(self._shown(name))

    def _shown(self, name: str) -> dict[str, object]:
        file = self._batches[name]
        rows = len(self._files[file])
        ended = {"status": "completed", "output_file_id": f"out-{file}"}
        counts = {"total": rows, "completed": rows, "failed": 0}
        state = {"status": "in_progress"} if self._never else {**ended, "request_counts": counts}
        return {"id": name, "object": "batch", "input_file_id": file, **state}


class _Connection(asyncio.Protocol):
    """Requests one after the other, each with a Content-Length or in chunks."""

    def __init__(self, answer: Callable[[bytes, bytes, bytes], bytes]) -> None:
        self._answer = answer
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end])
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            body = bytes(self._received[end + 4 : whole])
            del self._received[:whole]
            method, path, _ = head.split(b" ", 2)
            said = self._answer(method, path, body)
            kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(said)
            self._transport.write(kind + said)


async def serve(*, never: bool) -> None:
    stub = _Stub(never=never)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(stub.answer), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--never", action="store_true", help="no batch ever ends")
    asyncio.run(serve(never=parser.parse_args().never))


if __name__ == "__main__":
    main()
