"""Pairs from a file, served as a generator's answers: python examples/worked/written.py PAIRS.jsonl PORT.

Each line of the file has `evidence` (a sentence, word for word as it stands in a paper), `question` and `answer`. The
recipe "grounded" asks about one chunk at a time; the answer holds the pairs whose evidence stands in that chunk. So
pairs that exist already pass the same checks, curation, retrieval and split as those that a run makes.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODEL = "written"


def read_pairs(path: Path) -> list[dict[str, str]]:
    """The pairs of a file of JSON lines, each evidence with single spaces."""
    lines = path.read_text("utf-8").splitlines()
    return [{**pair, "evidence": joined(pair["evidence"])} for pair in map(json.loads, filter(str.strip, lines))]


def answer(pairs: list[dict[str, str]], prompt: str) -> str:
    """The JSON that the recipe "grounded" expects: the pairs whose evidence stands in `prompt`."""
    text = joined(prompt)
    names = ("evidence", "question", "answer")
    found = [{name: pair[name] for name in names} for pair in pairs if pair["evidence"] in text]
    return json.dumps({"pairs": found}, ensure_ascii=False)


def joined(text: str) -> str:
    return " ".join(text.split())


def server(pairs: list[dict[str, str]], port: int = 0) -> ThreadingHTTPServer:
    """An endpoint on the loopback that answers chat completions from `pairs`; port 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = completion(answer(pairs, body["messages"][-1]["content"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def completion(text: str) -> bytes:
    """An answer in OpenAI's shape. It costs nothing, so it counts no tokens."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    body = {"id": MODEL, "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice], "usage": usage}
    return json.dumps(body).encode()


if __name__ == "__main__":
    server(read_pairs(Path(sys.argv[1])), int(sys.argv[2])).serve_forever()
