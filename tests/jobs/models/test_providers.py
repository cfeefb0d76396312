"""Providers by name: the table, and a whole run at a server that speaks another protocol than OpenAI's."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from jobs.cli.main import main
from jobs.models import providers
from jobs.models.providers import check_provider, provider
from jobs.simulator.answers import count_tokens, embed, say
from jobs.simulator.settings import Simulation

ROOT = Path(__file__).resolve().parents[3]


class Native(BaseHTTPRequestHandler):
    """A server that speaks Ollama's native API; each prompt is refused once with 503 in its own words."""

    protocol_version = "HTTP/1.1"
    seen: Counter[str]
    paths: Counter[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.paths[self.path] += 1
        key = json.dumps(body, sort_keys=True)
        self.seen[key] += 1
        if self.seen[key] == 1:
            self._answer(503, {"error": "server busy, please try again. maximum pending requests exceeded"})
        elif self.path == "/api/embed":
            vectors = [embed(text, 32).tolist() for text in body["input"]]
            self._answer(200, {"embeddings": vectors, "prompt_eval_count": sum(map(len, body["input"])) // 4})
        else:
            prompt = "\n".join(message["content"] for message in body["messages"])
            text = say(Simulation(), key=key, model="m", prompt=prompt, schema=body.get("format"))
            content = f"<think>\nHm.\n</think>\n\n{text}"
            counts = {"prompt_eval_count": count_tokens(prompt), "eval_count": count_tokens(text)}
            self._answer(200, {"message": {"role": "assistant", "content": content}, "done_reason": "stop", **counts})

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def native() -> Iterator[ThreadingHTTPServer]:
    Native.seen, Native.paths = Counter(), Counter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Native)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_line_of_the_table_opens() -> None:
    """Each provider that is promised stands in the table and can be imported."""
    assert list(providers.PROVIDERS) == ["openai"]
    assert callable(provider("openai"))


def test_an_unknown_provider_is_refused() -> None:
    """With the one that was meant, or those that there are."""
    with pytest.raises(
        BadInput, match=r"models\.judge\.provider: there is no provider 'openia'; did you mean openai\?"
    ):
        check_provider("openia", "judge")
    with pytest.raises(BadInput, match="there are openai"):
        check_provider("x", "judge")


@pytest.mark.processes
def test_a_run_at_a_server_that_speaks_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: ThreadingHTTPServer, example_papers: Path
) -> None:
    """All jobs run through the worked example's provider: nothing outside a provider knows OpenAI's JSON or statuses."""
    monkeypatch.syspath_prepend(ROOT / "examples" / "extending")
    monkeypatch.setitem(providers.PROVIDERS, "ollama", "provider:Ollama")
    roles = "\n".join(
        f'[models.{role}]\nprovider = "ollama"\nmodel = "m"\nbase_url = "http://127.0.0.1:{native.server_port}"\n'
        'api_key_env = ""\nmax_concurrency = 8\n'
        for role in ("generator", "base", "judge", "embedding")
    )
    config = tmp_path / "config.toml"
    config.write_text(f"{roles}\n[ask]\nmax_questions = 4\n[parse]\nworkers = 1\n[evaluate]\nsample = 2\n", "utf-8")
    out = tmp_path / "run"
    assert (
        main(["run", str(example_papers), "--out", str(out), "--config", str(config), "--set", "curate.rules=false"])
        == 0
    )
    assert set(Native.paths) == {"/api/chat", "/api/embed"}
    results = json.loads((out / "results.json").read_bytes())
    assert results["usage"]["total"]["prompt_tokens"] > 0
    assert {row["correctness"]["scored"] for row in results["rows"]} != {0}
    rows = b"".join(path.read_bytes() for path in out.glob("*/0*.jsonl"))
    assert b"think" not in rows
