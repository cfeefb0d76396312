"""The base and its adapters as an endpoint that decodes in batches with torch: BASE.gguf ADAPTERS PORT.

On two cores this answers some hundred questions in a fifth of the time of a server that reads one prompt after the
other. A request's `model` is "base" or the name of a file in the folder ADAPTERS, without its ending; that folder holds
peft's adapters. Decoding is greedy; requests for one model that wait together are answered together.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_TOGETHER = 32
_WAIT_S = 0.4  # for others to come


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that waits for its answer: text and number of tokens of the prompt and of the answer."""

    model: str
    messages: Sequence[dict[str, str]]
    most_tokens: int
    answer: Future[tuple[str, int, int]] = field(default_factory=Future)


class Decoder:
    """Answers requests in batches, on a thread of its own."""

    def __init__(self, base: Path, adapters: Path) -> None:
        from jobs.tuning.lora.base import load_base

        loaded = load_base(base, "auto")
        self._tokenizer, self._model = loaded.tokenizer, loaded.model.eval()
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._adapters = adapters
        self._loaded: set[str] = set()
        self.waiting: queue.Queue[Asked] = queue.Queue()

    def work(self) -> None:
        """Answer what waits, for ever."""
        held: list[Asked] = []
        while True:
            held = held or [self.waiting.get()]
            threading.Event().wait(_WAIT_S)
            while not self.waiting.empty():
                held.append(self.waiting.get())
            batch = [asked for asked in held if _alike(asked, held[0])][:_TOGETHER]
            held = [asked for asked in held if asked not in batch]
            try:
                for asked, found in zip(batch, self._decode(batch), strict=True):
                    asked.answer.set_result(found)
            except (OSError, ValueError, RuntimeError) as error:
                for asked in batch:
                    asked.answer.set_exception(error)

    def _decode(self, batch: Sequence[Asked]) -> list[tuple[str, int, int]]:
        import torch

        texts = [
            self._tokenizer.apply_chat_template(asked.messages, tokenize=False, add_generation_prompt=True)
            for asked in batch
        ]
        tokens = self._tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        width = tokens["input_ids"].shape[1]
        with torch.inference_mode(), self._as(batch[0].model):
            written = self._model.generate(
                **tokens,
                max_new_tokens=batch[0].most_tokens,
                do_sample=False,
                pad_token_id=self._tokenizer.pad_token_id,
            )
        lengths = tokens["attention_mask"].sum(dim=1).tolist()
        answers = self._tokenizer.batch_decode(written[:, width:], skip_special_tokens=True)
        ends = [int((row != self._tokenizer.pad_token_id).sum()) for row in written[:, width:]]
        return list(zip((answer.strip() for answer in answers), lengths, ends, strict=True))

    def _as(self, name: str) -> Any:
        """The model as `name` from here on: with that adapter, or as a context without any."""
        if name == "base":
            return self._model.disable_adapter() if self._loaded else nullcontext()
        if name not in self._loaded:
            self._load(name)
        self._model.set_adapter(name)
        return nullcontext()

    def _load(self, name: str) -> None:
        from peft import PeftModel

        folder = self._adapters / name
        if not folder.is_dir():
            raise ValueError(f"there is no adapter {name}")
        if self._loaded:
            self._model.load_adapter(str(folder), adapter_name=name)
        else:
            self._model = PeftModel.from_pretrained(self._model, str(folder), adapter_name=name)
        self._model.eval()
        self._loaded.add(name)


def _alike(one: Asked, other: Asked) -> bool:
    return (one.model, one.most_tokens) == (other.model, other.most_tokens)


def server(decoder: Any, port: int = 0) -> ThreadingHTTPServer:
    """An endpoint on the loopback whose chat completions `decoder.waiting` takes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = Asked(body["model"], body["messages"], body.get("max_tokens") or body["max_completion_tokens"])
            decoder.waiting.put(asked)
            try:
                text, prompt, written = asked.answer.result()
                self._send(200, completion(body["model"], text, prompt, written))
            except (OSError, ValueError, RuntimeError) as error:
                self._send(400, {"error": {"message": str(error), "type": "invalid_request_error"}})

        def _send(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # connections that wait; with the usual five a burst of requests is reset

    return Server(("127.0.0.1", port), Handler)


def completion(model: str, text: str, prompt: int, written: int) -> dict[str, Any]:
    """An answer in OpenAI's shape. An answer that reached the bound is a whole one: all models have the same bound."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
    return {
        "id": "batch",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def main() -> None:
    base, adapters, port = sys.argv[1:]
    decoder = Decoder(Path(base), Path(adapters))
    threading.Thread(target=decoder.work, daemon=True).start()
    served = server(decoder, int(port))
    print(f"http://127.0.0.1:{served.server_port}/v1", flush=True)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    sys.stdin.read()  # until the parent ends
    os._exit(0)


if __name__ == "__main__":
    main()
