"""Serve a GGUF file with OpenVINO, which reads prompts with a third of the CPU that llama.cpp takes on some machines.

    python -m venv openvino && openvino/bin/pip install openvino-genai==2026.4.1.0
    openvino/bin/python benchmarks/quality/openvino_server.py MODEL.gguf --port 8790

It answers chat requests on the loopback interface as far as make_pairs.py asks for them: messages, a bound on tokens, a
temperature with a seed, a JSON schema. What prompts share is read once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openvino_genai


class Batcher:
    """One thread steps the pipeline for all requests in flight; each waits for its own queue."""

    def __init__(self, path: str, threads: int) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching = True
        scheduler.cache_size = 2  # GB
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            path, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads}
        )
        self.tokenizer = self._pipeline.get_tokenizer()
        self._new: queue.Queue[tuple[str, Any, queue.Queue[Any]]] = queue.Queue()
        threading.Thread(target=self._run, daemon=True).start()

    def answer(self, prompt: str, config: Any) -> tuple[str, int, int]:
        """The text, and the tokens of prompt and answer."""
        mine: queue.Queue[Any] = queue.Queue()
        self._new.put((prompt, config, mine))
        tokens = mine.get()
        if isinstance(tokens, Exception):
            raise tokens
        read = self.tokenizer.encode(prompt).input_ids.shape[1]
        return self.tokenizer.decode(list(tokens)), int(read), len(tokens)

    def _run(self) -> None:
        handles: dict[int, tuple[Any, queue.Queue[Any]]] = {}
        numbers = itertools.count()
        while True:
            while not handles or not self._new.empty():
                prompt, config, mine = self._new.get()
                try:
                    number = next(numbers)
                    handles[number] = self._pipeline.add_request(number, prompt, config), mine
                except RuntimeError as error:  # whoever asked is told
                    mine.put(error)
            self._pipeline.step()
            for number, (handle, mine) in list(handles.items()):
                if str(handle.get_status()).rpartition(".")[2] != "RUNNING":
                    mine.put(handle.read_all()[0].generated_ids)
                    del handles[number]


def configured(body: dict[str, Any]) -> Any:
    """The request's own settings; nothing of the model's default sampling stays."""
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = body["max_tokens"]
    if body.get("temperature"):
        config.do_sample, config.temperature, config.rng_seed = True, body["temperature"], body["seed"]
    if form := body.get("response_format"):
        schema = json.dumps(form["json_schema"]["schema"])
        config.structured_output_config = openvino_genai.StructuredOutputConfig(json_schema=schema)
    return config


def handler(batcher: Batcher) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = batcher.tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True)
            text, read, written = batcher.answer(prompt, configured(body))
            reply = {
                "choices": [{"message": {"role": "assistant", "content": text}}],
                "usage": {"prompt_tokens": read, "completion_tokens": written},
            }
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are counted by whoever sends them."""

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf")
    parser.add_argument("--port", type=int, default=8790)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    begun = time.monotonic()
    batcher = Batcher(given.gguf, given.threads)
    print(f"up after {time.monotonic() - begun:.0f} s on http://127.0.0.1:{given.port}/v1", flush=True)
    ThreadingHTTPServer(("127.0.0.1", given.port), handler(batcher)).serve_forever()


if __name__ == "__main__":
    main()
